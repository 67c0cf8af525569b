// dense_gradient: the gradients of a dense layer's parameters over the whole batch; jobs beside the next
// pass.
//
//   dweight[o, k] = sum over n of dy[n, o] * x[n, k]        dbias[o] = sum over n of dy[n, o]
//
//   x (N, IN)   dy (N, OUT)   dweight (OUT, IN)   dbias (OUT), or null   scratch (GROUPS * 4 * QUARTER), shared
//   Shape   IN, OUT, ROWS, COLUMNS, QUARTER = COLUMNS / 4 rounded up
//
//            COLUMNS of IN
//          .--------------.
//     ROWS |  one job     |           q: the four columns of a thread, QUARTER apart, in all ROWS
//   of OUT |   q q  q q   |
//          '--------------'
//
// Threads: a job is a block of its own, for ROWS x COLUMNS numbers of dweight. GROUPS of QUARTER threads take
// images g, g + GROUPS, ... each; at the end the groups are added, in order. Per image a thread loads 4
// numbers of x (coalesced) and ROWS of dy (a broadcast) for 4 * ROWS multiply-adds: 8 for 16.
// NumPy twins: add_product and add_sums in nplenet/layers/products.py.

template <int THREADS, class Shape>
__device__ void dense_gradient(int job, const T* __restrict__ x, const T* __restrict__ dy, int N,
                               T* __restrict__ dweight, T* __restrict__ dbias, T* scratch)
{
    constexpr int IN = Shape::IN, OUT = Shape::OUT, ROWS = Shape::ROWS, QUARTER = Shape::QUARTER;
    constexpr int STRIPES = (IN + Shape::COLUMNS - 1) / Shape::COLUMNS, GROUPS = THREADS / QUARTER;
    const int row = job / STRIPES * ROWS, column = job % STRIPES * Shape::COLUMNS;
    const int q = threadIdx.x % QUARTER, group = threadIdx.x / QUARTER;
    T sums[ROWS][4], biases[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; ++r) biases[r] = sums[r][0] = sums[r][1] = sums[r][2] = sums[r][3] = T(0);
    if (group < GROUPS) {
#pragma unroll 4
        for (int n = group; n < N; n += GROUPS) {
            T values[4];
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                const int k = column + q + j * QUARTER;
                values[j] = IN % (4 * QUARTER) == 0 || k < IN ? x[(long long)n * IN + k] : T(0);
            }
#pragma unroll
            for (int r = 0; r < ROWS; ++r) {
                const T d = OUT % ROWS == 0 || row + r < OUT ? dy[(long long)n * OUT + row + r] : T(0);
                biases[r] += d;
#pragma unroll
                for (int j = 0; j < 4; ++j) sums[r][j] += d * values[j];
            }
        }
    }
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
        if (group < GROUPS)
            for (int j = 0; j < 4; ++j) scratch[(group * 4 + j) * QUARTER + q] = sums[r][j];
        __syncthreads();
        for (int e = threadIdx.x; e < 4 * QUARTER; e += THREADS) {
            T sum = T(0);
            for (int g = 0; g < GROUPS; ++g) sum += scratch[g * 4 * QUARTER + e];
            if (row + r < OUT && e < Shape::COLUMNS && column + e < IN)
                dweight[(long long)(row + r) * IN + column + e] = sum;
        }
        __syncthreads();
        if (group < GROUPS && q == 0) scratch[group] = biases[r];
        __syncthreads();
        if (threadIdx.x == 0 && dbias && column == 0 && row + r < OUT) {
            T sum = T(0);
            for (int g = 0; g < GROUPS; ++g) sum += scratch[g];
            dbias[row + r] = sum;
        }
        __syncthreads();
    }
}
