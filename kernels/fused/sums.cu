// sum_rows: add up the rows that the blocks of the pass before have left, in a fixed order; a job.
//
//   sum over r of rows[r, e], given to out(e, sum); see update.cu
//
//   rows (R, SIZE)   scratch (THREADS), shared
//
// Threads: a job is a block of its own beside the main blocks of a pass; job j has 64 numbers. 64
// neighbouring threads read 64 neighbouring numbers (coalesced) of every (THREADS / 64)th row; then the
// groups' sums are added in order.
// NumPy twin: add_weight_gradient in nplenet/layers/conv.py.

template <int THREADS, int SIZE, class Out>
__device__ void sum_rows(int job, const T* __restrict__ rows, int R, Out out, T* scratch)
{
    constexpr int GROUPS = THREADS / 64;
    const int e = job * 64 + threadIdx.x % 64;
    T sum = T(0);
    if (e < SIZE) {
#pragma unroll 8
        for (int r = threadIdx.x / 64; r < R; r += GROUPS) sum += rows[(long long)r * SIZE + e];
    }
    scratch[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x >= 64 || e >= SIZE) return;
    for (int group = 1; group < GROUPS; ++group) sum += scratch[group * 64 + threadIdx.x];
    out(e, sum);
}
