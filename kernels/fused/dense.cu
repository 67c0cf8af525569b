// dense: y = x weight^T + bias, and dx = dy weight, for the I images of a block at once.
//
//   y[i, o] = bias[o] + sum over k of x[i, k] * weight[o, k]      dx[i, k] = sum over o of dy[i, o] * weight[o, k]
//
//   x, dx (I, IN)   y, dy (I, OUT)   weight (OUT, IN), in global memory
//   Shape   IN, OUT, VECTOR: numbers per load of weight, a divisor of IN; PARTS, a power of 2
//
//   forward: a warp has ROWS outputs              backward: a warp has 32 / PARTS packs of VECTOR columns
//
//          k                                               k
//        .--------------------------.                    .------------------.
//      o | lane 0 lane 1 ... lane 0 |   ROWS           o | 0 1 2 ... |      |   lanes of part 0
//        | lane 0 lane 1 ... lane 0 |                    | 8 9 ...   |      |   of part 1: the next row, and so on;
//        '--------------------------'                    '------------------'   each has every PARTS-th row
//
// Threads: as in the picture. Forward, each lane ends with sums of its own for ROWS * I numbers of y; the warp
// adds them up by halves, so that 32 sums take 31 shuffles and not 160. Backward, the parts are added by shuffles.
// Each weight is read once for I images, VECTOR at a time, coalesced; their latency is what this costs, so up to
// 16 packs are on their way at once, fewer where I leaves no registers for them. Loads of x and dy from shared memory:
// forward I per ROWS * I * VECTOR multiply-adds, backward I per I * VECTOR. 2 * IN * OUT FLOP per image each way;
// IN * OUT numbers of global memory per I images.
// NumPy twin: Dense in nplenet/layers/dense.py.

// Sum each of N values over 2 * DISTANCE lanes: a lane keeps the half of them that is its own and gives the other
// half away. Lane l of a warp returns the sum of number l / (32 / N); N is a power of 2, at most 2 * DISTANCE.
template <int DISTANCE, int N>
__device__ __forceinline__ T lanes_sums(const T (&values)[N])
{
    if constexpr (N == 1) {
        return lanes_sum<2 * DISTANCE>(values[0]);
    } else {
        const bool upper = threadIdx.x & DISTANCE;
        T own[N / 2];
#pragma unroll
        for (int j = 0; j < N / 2; ++j) {
            const T mine = upper ? values[j + N / 2] : values[j], other = upper ? values[j] : values[j + N / 2];
            own[j] = mine + __shfl_xor_sync(0xffffffffu, other, DISTANCE);
        }
        if constexpr (DISTANCE == 1) return own[0];
        else return lanes_sums<DISTANCE / 2>(own);
    }
}

// Return how many of `all` steps have their loads on the way together, at most `most`: all rounds are about equal.
__device__ constexpr int ahead(int all, int most)
{
    const int rounds = (all + most - 1) / most;
    return (all + rounds - 1) / rounds;
}

template <int THREADS, int I, class Shape>
__device__ void dense_forward(const T* x, const T* __restrict__ weight, const T* __restrict__ bias, T* y, int count)
{
    constexpr int IN = Shape::IN, OUT = Shape::OUT, N = Shape::VECTOR, PACKS = IN / N;
    constexpr int ROWS = 4, SHARE = 32 / (ROWS * I), AHEAD = ahead((PACKS + 31) / 32, I == 1 ? 4 : I == 2 ? 2 : 1);
    const int lane = threadIdx.x % 32;
#pragma unroll 1
    for (int o = computed_here(threadIdx.x / 32 * ROWS); o < OUT; o += THREADS / 32 * ROWS) {
        const int own = lane / SHARE, output = o + own / I, image = own % I;  // what this lane will write
        const T start = bias && output < OUT ? bias[output] : T(0);
        T sums[ROWS * I];
#pragma unroll
        for (int j = 0; j < ROWS * I; ++j) sums[j] = T(0);
#pragma unroll 1
        for (int begin = lane; begin < PACKS; begin += 32 * AHEAD) {
            Pack<N> w[AHEAD][ROWS];
#pragma unroll
            for (int a = 0; a < AHEAD; ++a)
#pragma unroll
                for (int r = 0; r < ROWS; ++r)
                    if (begin + 32 * a < PACKS)
                        w[a][r] = pack_at<N>(weight + ((long long)min(o + r, OUT - 1) * PACKS + begin + 32 * a) * N);
#pragma unroll
            for (int a = 0; a < AHEAD; ++a)
#pragma unroll
                for (int i = 0; i < I; ++i) {
                    if (begin + 32 * a >= PACKS) continue;
                    const Pack<N> value = pack_at<N>(x + (i * PACKS + begin + 32 * a) * N);
#pragma unroll
                    for (int r = 0; r < ROWS; ++r)
#pragma unroll
                        for (int e = 0; e < N; ++e) sums[r * I + i] += w[a][r].values[e] * value.values[e];
                }
        }
        const T sum = lanes_sums<16>(sums);
        if (lane % SHARE == 0 && image < count && output < OUT) y[image * OUT + output] = sum + start;
    }
}

template <int THREADS, int I, class Shape>
__device__ void dense_backward(const T* dy, const T* __restrict__ weight, T* dx, int count)
{
    constexpr int IN = Shape::IN, OUT = Shape::OUT, N = Shape::VECTOR, PACKS = IN / N, PARTS = Shape::PARTS;
    constexpr int AHEAD = ahead((OUT + PARTS - 1) / PARTS, I <= 2 ? 16 : I <= 4 ? 8 : 2), WIDTH = 32 / PARTS;
    const int part = threadIdx.x % 32 / WIDTH;
#pragma unroll 1
    for (int first = computed_here(threadIdx.x / 32 * WIDTH); first < PACKS; first += THREADS / 32 * WIDTH) {
        const int k = first + threadIdx.x % WIDTH;
        const bool inside = k < PACKS;
        T sums[I][N];
#pragma unroll
        for (int i = 0; i < I; ++i)
#pragma unroll
            for (int e = 0; e < N; ++e) sums[i][e] = T(0);
#pragma unroll 1
        for (int begin = part; begin < OUT; begin += PARTS * AHEAD) {
            Pack<N> w[AHEAD];
#pragma unroll
            for (int a = 0; a < AHEAD; ++a) {
                const int o = begin + PARTS * a;
                if (o < OUT) w[a] = pack_at<N>(weight + ((long long)o * PACKS + (inside ? k : 0)) * N);
            }
#pragma unroll
            for (int a = 0; a < AHEAD; ++a) {
                const int o = begin + PARTS * a;
                if (o >= OUT) continue;
#pragma unroll
                for (int i = 0; i < I; ++i)
#pragma unroll
                    for (int e = 0; e < N; ++e) sums[i][e] += w[a].values[e] * dy[i * OUT + o];
            }
        }
#pragma unroll
        for (int i = 0; i < I; ++i) {
            Pack<N> total;
#pragma unroll
            for (int e = 0; e < N; ++e) {
                total.values[e] = sums[i][e];
#pragma unroll
                for (int distance = 16; distance >= WIDTH; distance /= 2)
                    total.values[e] += __shfl_xor_sync(0xffffffffu, total.values[e], distance);
            }
            if (part == 0 && inside && i < count) *reinterpret_cast<Pack<N>*>(dx + (i * PACKS + k) * N) = total;
        }
    }
}
