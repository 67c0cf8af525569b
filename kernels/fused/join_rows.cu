// join_rows: add up, in one order, the rows that the blocks of the pass before have left, in every block alike.
//
//   rows (R, C) of two doubles   joined (C), shared
//
// Threads: LANES neighbouring ones per channel, with eight rows each on their way at once. All blocks read all
// rows, which are in the cache.
// NumPy twin: batch_norm_sums in nplenet/layers/batchnorm.py, which sums over all images at once.

// Call add(block, row) for the rows of a channel, LANES threads per channel, and leave the sums of what it returns
// in joined[0 ... C - 1]. Then the block waits.
template <int THREADS, class Shape, class Add>
__device__ __forceinline__ void join_rows(const Two* __restrict__ rows, int blocks, Two* joined, Add add)
{
    constexpr int C = Shape::C, LANES = Shape::LANES, AHEAD = 8;
    for (int begin = 0; begin < C; begin += THREADS / LANES) {
        const int c = begin + threadIdx.x / LANES;
        Two sum = {0.0, 0.0};
        for (int block = threadIdx.x % LANES; block < blocks && c < C; block += AHEAD * LANES) {
            Two some[AHEAD];
#pragma unroll
            for (int a = 0; a < AHEAD; ++a)
                if (block + a * LANES < blocks) some[a] = rows[(long long)(block + a * LANES) * C + c];
#pragma unroll
            for (int a = 0; a < AHEAD; ++a)
                if (block + a * LANES < blocks) {
                    const Two more = add(c, block + a * LANES, some[a]);
                    sum.first += more.first;
                    sum.second += more.second;
                }
        }
        sum.first = lanes_sum<LANES>(sum.first);
        sum.second = lanes_sum<LANES>(sum.second);
        if (threadIdx.x % LANES == 0 && c < C) joined[c] = sum;
    }
    __syncthreads();
}
