// max_pool: the maximum of each window and which tap holds it; max_pool_backward: dy to the winners.
//
//   y[n, c, oh, ow]       = max over (kh, kw) of x[n, c, oh*sh - ph + kh*dh, ow*sw - pw + kw*dw]
//   winner[n, c, oh, ow]  = kh*KW + kw of the first maximum; the padding is -inf, NaN wins
//   dx[n, c, h, w]        = sum over the (kh, kw, oh, ow) that read this pixel and whose winner is
//                           kh*KW + kw, of dy[n, c, oh, ow]
//
//   x, dx  (N, C, H, W)        y, dy, winner  (N, C, OH, OW)
//
// Threads: one per element of the result, in a grid-stride loop; backward gathers tap by tap in a fixed
// order, without atomics. Neighbouring threads differ in ow (or w): writes are coalesced, reads lie sw
// (or 1 / sw) numbers apart.
// NumPy twins: max_pool and max_pool_backward in nplenet/layers/pooling.py.

template <typename T>
__global__ void max_pool(const T* __restrict__ x, T* __restrict__ y, int* __restrict__ winner, int N, int C,
                         int H, int W, int KH, int KW, int OH, int OW, int sh, int sw, int ph, int pw,
                         int dh, int dw)
{
    const T infinity = T(__int_as_float(0x7f800000));
    const long long total = (long long)N * C * OH * OW;
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += step) {
        const int left = (int)(i % OW) * sw - pw;
        const int top = (int)(i / OW % OH) * sh - ph;
        const T* image = x + i / ((long long)OW * OH) * H * W;  // (n, c)
        T best = -infinity;
        int tap = 0;
        for (int kh = 0; kh < KH; ++kh) {
            const int h = top + kh * dh;
            if (h < 0 || h >= H) continue;
            for (int kw = 0; kw < KW; ++kw) {
                const int w = left + kw * dw;
                if (w < 0 || w >= W) continue;
                const T value = image[(long long)h * W + w];
                if (value > best || value != value) {
                    best = value;
                    tap = kh * KW + kw;
                }
            }
        }
        y[i] = best;
        winner[i] = tap;
    }
}

template <typename T>
__global__ void max_pool_backward(const T* __restrict__ dy, const int* __restrict__ winner, T* __restrict__ dx,
                                  int N, int C, int H, int W, int KH, int KW, int OH, int OW, int sh, int sw,
                                  int ph, int pw, int dh, int dw)
{
    const long long total = (long long)N * C * H * W;
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += step) {
        const int w = (int)(i % W);
        const int h = (int)(i / W % H);
        const long long image = i / ((long long)W * H) * OH * OW;  // (n, c)
        T sum = T(0);
        for (int kh = 0; kh < KH; ++kh) {
            const int top = h + ph - kh * dh;
            if (top < 0 || top % sh != 0 || top / sh >= OH) continue;
            for (int kw = 0; kw < KW; ++kw) {
                const int left = w + pw - kw * dw;
                if (left < 0 || left % sw != 0 || left / sw >= OW) continue;
                const long long at = image + (long long)(top / sh) * OW + left / sw;
                sum += dy[at] * T(winner[at] == kh * KW + kw);
            }
        }
        dx[i] = sum;
    }
}
