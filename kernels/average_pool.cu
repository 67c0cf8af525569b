// average_pool: the mean of each window; average_pool_backward: its transpose, as a gather.
//
//   y[n, c, oh, ow]  = sum of x[n, c, oh*sh - ph + kh, ow*sw - pw + kw] over (kh, kw) / divisor(oh, ow)
//   dx[n, c, h, w]   = sum over the (kh, kw, oh, ow) with oh*sh - ph + kh = h and ow*sw - pw + kw = w
//                      of dy[n, c, oh, ow] / divisor(oh, ow)
//
//   divisor = pixels of the window on the image, with count_padding also pixels on its padding; never
//             what lies beyond the padding, over which a window may hang in ceil mode
//
//   x, dx  (N, C, H, W)        y, dy  (N, C, OH, OW)
//
// Threads: one per element of the result, in a grid-stride loop; the terms are added in the order of the
// twin, tap by tap, without atomics. Neighbouring threads differ in ow (or w): writes are coalesced,
// reads lie sw (or 1 / sw) numbers apart. dh and dw are 1: this window has no gaps.
// NumPy twins: average_pool and average_pool_backward in nplenet/layers/pooling.py.

// Return how many of the window's pixels on one axis count; the window begins at `start`.
__device__ __forceinline__ int covered(int start, int size, int length, int padding, int count_padding)
{
    const int border = count_padding ? padding : 0;
    const int first = start > -border ? start : -border;
    const int last = start + size < length + border ? start + size : length + border;
    return last - first;
}

template <typename T>
__global__ void average_pool(const T* __restrict__ x, T* __restrict__ y, int count_padding, int N, int C,
                             int H, int W, int KH, int KW, int OH, int OW, int sh, int sw, int ph, int pw,
                             int dh, int dw)
{
    const long long total = (long long)N * C * OH * OW;
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += step) {
        const int left = (int)(i % OW) * sw - pw;
        const int top = (int)(i / OW % OH) * sh - ph;
        const T* image = x + i / ((long long)OW * OH) * H * W;  // (n, c)
        T sum = T(0);
        for (int h = top < 0 ? 0 : top; h < top + KH && h < H; ++h)
            for (int w = left < 0 ? 0 : left; w < left + KW && w < W; ++w)
                sum += image[(long long)h * W + w];
        y[i] = sum / T(covered(top, KH, H, ph, count_padding) * covered(left, KW, W, pw, count_padding));
    }
}

template <typename T>
__global__ void average_pool_backward(const T* __restrict__ dy, T* __restrict__ dx, int count_padding, int N,
                                      int C, int H, int W, int KH, int KW, int OH, int OW, int sh, int sw,
                                      int ph, int pw, int dh, int dw)
{
    const long long total = (long long)N * C * H * W;
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += step) {
        const int w = (int)(i % W);
        const int h = (int)(i / W % H);
        const T* image = dy + i / ((long long)W * H) * OH * OW;  // (n, c)
        T sum = T(0);
        for (int kh = 0; kh < KH; ++kh) {
            const int top = h + ph - kh;
            if (top < 0 || top % sh != 0 || top / sh >= OH) continue;
            const int rows = covered(top - ph, KH, H, ph, count_padding);
            for (int kw = 0; kw < KW; ++kw) {
                const int left = w + pw - kw;
                if (left < 0 || left % sw != 0 || left / sw >= OW) continue;
                const int columns = covered(left - pw, KW, W, pw, count_padding);
                sum += image[(long long)(top / sh) * OW + left / sw] / T(rows * columns);
            }
        }
        dx[i] = sum;
    }
}
