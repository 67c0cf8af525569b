// dense: y = x weight^T + bias, and dx = dy weight, for the I images of a block at once.
//
//   y[i, o] = bias[o] + sum over k of x[i, k] * weight[o, k]      dx[i, k] = sum over o of dy[i, o] * weight[o, k]
//
//   x, dx (I, IN)   y, dy (I, OUT)   weight (OUT, IN), in global memory   scratch (I, PARTS, IN)
//   Shape   IN, OUT, PARTS
//
// Threads, forward: a warp per output, its lanes over the inputs (coalesced), then a sum over the lanes. Backward: one per
// input and part of the outputs (coalesced again); the parts, as many as there are threads for, are added in order.
// Each weight is read once for I images: I + 1 loads, one of them from global memory, for I multiply-adds.
// 2 * IN * OUT FLOP per image each way; IN * OUT numbers of global memory per I images.
// NumPy twin: Dense in nplenet/layers/dense.py.

template <int THREADS, int I, class Shape>
__device__ void dense_forward(const T* x, const T* __restrict__ weight, const T* __restrict__ bias, T* y, int count)
{
    constexpr int IN = Shape::IN, OUT = Shape::OUT;
    const int lane = threadIdx.x % 32;
    for (int o = threadIdx.x / 32; o < OUT; o += THREADS / 32) {
        const T* row = weight + (long long)o * IN;
        T sums[I];
#pragma unroll
        for (int i = 0; i < I; ++i) sums[i] = T(0);
#pragma unroll 4
        for (int k = lane; k < IN; k += 32) {
            const T w = row[k];
#pragma unroll
            for (int i = 0; i < I; ++i) sums[i] += w * x[i * IN + k];
        }
        const T start = bias ? bias[o] : T(0);
#pragma unroll
        for (int i = 0; i < I; ++i) {
            const T sum = lanes_sum<32>(sums[i]);
            if (lane == 0 && i < count) y[i * OUT + o] = sum + start;
        }
    }
}

template <int THREADS, int I, class Shape>
__device__ void dense_backward(const T* dy, const T* __restrict__ weight, T* dx, T* scratch, int count)
{
    constexpr int IN = Shape::IN, OUT = Shape::OUT, PARTS = Shape::PARTS;
    for (int task = threadIdx.x; task < PARTS * IN; task += THREADS) {
        const int k = task % IN, part = task / IN;
        T sums[I];
#pragma unroll
        for (int i = 0; i < I; ++i) sums[i] = T(0);
#pragma unroll 8
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
