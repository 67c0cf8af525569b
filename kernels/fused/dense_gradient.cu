// dense_gradient: the gradients of a dense layer's parameters over the whole batch; jobs beside the next
// pass.
//
//   dweight[o, k] = sum over n of dy[n, o] * x[n, k]        dbias[o] = sum over n of dy[n, o]
//
//   both given to out(e, sum), see update.cu
//
//   x (N, IN)   dy (N, OUT)   scratch (GROUPS * COLUMNS), shared
//   Shape   IN, OUT, ROWS, COLUMNS, VECTOR, ROW_VECTOR: divisors of COLUMNS and IN, of ROWS and OUT;
//           BIAS: whether there is one
//
//            COLUMNS of IN
//          .--------------.
//     ROWS |  one job     |           q: the VECTOR columns of a thread, in all ROWS
//   of OUT |   qqqq       |
//          '--------------'
//
// Threads: a job is a block of its own, for ROWS x COLUMNS numbers of dweight. GROUPS of COLUMNS / VECTOR threads
// take images g, g + GROUPS, ... each; at the end the groups are added, in order. Per image a thread loads a pack
// of x (coalesced) and ROWS of dy (a broadcast) for VECTOR * ROWS multiply-adds: two loads of 16 bytes for 16.
// NumPy twins: add_product and add_sums in nplenet/layers/products.py.

template <int THREADS, class Shape, class OutWeight, class OutBias>
__device__ void dense_gradient(int job, const T* __restrict__ x, const T* __restrict__ dy, int N,
                               OutWeight out_weight, OutBias out_bias, T* scratch)
{
    constexpr int IN = Shape::IN, OUT = Shape::OUT, ROWS = Shape::ROWS, COLUMNS = Shape::COLUMNS;
    constexpr int V = Shape::VECTOR, R = Shape::ROW_VECTOR, WIDTH = COLUMNS / V;
    constexpr int STRIPES = (IN + COLUMNS - 1) / COLUMNS, GROUPS = THREADS / WIDTH;
    const int row = job / STRIPES * ROWS, column = job % STRIPES * COLUMNS;
    const int q = threadIdx.x % WIDTH, group = threadIdx.x / WIDTH, k = column + q * V;
    T sums[ROWS][V], biases[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
        biases[r] = T(0);
#pragma unroll
        for (int e = 0; e < V; ++e) sums[r][e] = T(0);
    }
    if (group < GROUPS && k < IN) {
#pragma unroll 4
        for (int n = group; n < N; n += GROUPS) {
            const Pack<V> values = pack_at<V>(x + (long long)n * IN + k);
#pragma unroll
            for (int r = 0; r < ROWS; r += R) {
                if (OUT % ROWS != 0 && row + r >= OUT) break;
                const Pack<R> d = pack_at<R>(dy + (long long)n * OUT + row + r);
#pragma unroll
                for (int j = 0; j < R; ++j) {
                    biases[r + j] += d.values[j];
#pragma unroll
                    for (int e = 0; e < V; ++e) sums[r + j][e] += d.values[j] * values.values[e];
                }
            }
        }
    }
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
        if (group < GROUPS)
#pragma unroll
            for (int e = 0; e < V; ++e) scratch[group * COLUMNS + q * V + e] = sums[r][e];
        __syncthreads();
        for (int e = threadIdx.x; e < COLUMNS; e += THREADS) {
            T sum = T(0);
            for (int g = 0; g < GROUPS; ++g) sum += scratch[g * COLUMNS + e];
            if (row + r < OUT && column + e < IN) out_weight((row + r) * IN + column + e, sum);
        }
        __syncthreads();
        if (!Shape::BIAS) continue;
        if (group < GROUPS && q == 0) scratch[group] = biases[r];
        __syncthreads();
        if (threadIdx.x == 0 && column == 0 && row + r < OUT) {
            T sum = T(0);
            for (int g = 0; g < GROUPS; ++g) sum += scratch[g];
            out_bias(row + r, sum);
        }
        __syncthreads();
    }
}
