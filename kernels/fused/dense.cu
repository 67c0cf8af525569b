// dense: y = x weight^T + bias, and dx = dy weight, for the I images of a block at once.
//
//   y[i, o] = bias[o] + sum over k of x[i, k] * weight[o, k]      dx[i, k] = sum over o of dy[i, o] * weight[o, k]
//
//   x, dx (I, IN)   y, dy (I, OUT)   weight (OUT, IN), in global memory   scratch (I, PARTS, IN)
//   Shape   IN, OUT, PARTS
//
// Threads, forward: a warp per two outputs, its lanes over the inputs (coalesced), then a sum over the lanes.
// Backward: one per input and part of the outputs (coalesced again); the parts, as many as there are threads
// for, are added in order. Each weight is read once for I images: forward I + 2 loads, two of them from
// global memory, for 2 * I multiply-adds, backward I + 1 for I. Loops are unrolled so that 16 loads of
// weights (8 for large I) are on their way at once: their latency is what this costs. 2 * IN * OUT FLOP per
// image each way; IN * OUT numbers of global memory per I images.
// NumPy twin: Dense in nplenet/layers/dense.py.

template <int THREADS, int I, class Shape>
__device__ void dense_forward(const T* x, const T* __restrict__ weight, const T* __restrict__ bias, T* y, int count)
{
    constexpr int IN = Shape::IN, OUT = Shape::OUT, PAIR = 2, IN_FLIGHT = I > 4 ? 4 : 8;
    const int lane = threadIdx.x % 32;
    for (int o = threadIdx.x / 32 * PAIR; o < OUT; o += THREADS / 32 * PAIR) {
        const T* rows[PAIR] = {weight + (long long)o * IN, weight + (long long)min(o + 1, OUT - 1) * IN};
        T sums[PAIR][I];
#pragma unroll
        for (int i = 0; i < I; ++i) sums[0][i] = sums[1][i] = T(0);
#pragma unroll IN_FLIGHT
        for (int k = lane; k < IN; k += 32) {
            const T w[PAIR] = {rows[0][k], rows[1][k]};
#pragma unroll
            for (int i = 0; i < I; ++i) {
                const T value = x[i * IN + k];
                sums[0][i] += w[0] * value;
                sums[1][i] += w[1] * value;
            }
        }
#pragma unroll
        for (int p = 0; p < PAIR; ++p) {
            const T start = bias && o + p < OUT ? bias[o + p] : T(0);
#pragma unroll
            for (int i = 0; i < I; ++i) {
                const T sum = lanes_sum<32>(sums[p][i]);
                if (lane == 0 && i < count && o + p < OUT) y[i * OUT + o + p] = sum + start;
            }
        }
    }
}

template <int THREADS, int I, class Shape>
__device__ void dense_backward(const T* dy, const T* __restrict__ weight, T* dx, T* scratch, int count)
{
    constexpr int IN = Shape::IN, OUT = Shape::OUT, PARTS = Shape::PARTS, IN_FLIGHT = I > 4 ? 8 : 16;
    for (int task = threadIdx.x; task < PARTS * IN; task += THREADS) {
        const int k = task % IN, part = task / IN;
        T sums[I];
#pragma unroll
        for (int i = 0; i < I; ++i) sums[i] = T(0);
#pragma unroll IN_FLIGHT
        for (int o = part; o < OUT; o += PARTS) {
            const T w = weight[(long long)o * IN + k];
#pragma unroll
            for (int i = 0; i < I; ++i) sums[i] += w * dy[i * OUT + o];
        }
#pragma unroll
        for (int i = 0; i < I; ++i) {
            if (i >= count) break;
            if (PARTS == 1) dx[i * IN + k] = sums[i];
            else scratch[i * PARTS * IN + task] = sums[i];
        }
    }
    if (PARTS == 1) return;
    __syncthreads();
    for (int e = threadIdx.x; e < count * IN; e += THREADS) {
        T sum = T(0);
        for (int part = 0; part < PARTS; ++part) sum += scratch[(e / IN * PARTS + part) * IN + e % IN];
        dx[e] = sum;
    }
}
