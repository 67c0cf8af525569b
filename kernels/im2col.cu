// im2col: lay the windows of x side by side, one per column.
//
//   cols[n, (c, kh, kw), (oh, ow)] = x[n, c, oh*sh - ph + kh*dh, ow*sw - pw + kw*dw], 0 on the padding
//
//   x     (N, C, H, W)
//   cols  (N, C*KH*KW, OH*OW)
//
// Threads: one per element of cols, in a grid-stride loop. Neighbouring threads differ in ow, so writes
// are coalesced and so are reads, except at line ends, when the stride is 1; each pixel is read KH*KW
// times, from cache.
// NumPy twin: im2col in nplenet/layers/conv.py.

template <typename T>
__global__ void im2col(const T* __restrict__ x, T* __restrict__ cols, int N, int C, int H, int W,
                       int KH, int KW, int OH, int OW, int sh, int sw, int ph, int pw, int dh, int dw)
{
    const long long total = (long long)N * C * KH * KW * OH * OW;
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += step) {
        const int ow = (int)(i % OW);
        const int oh = (int)(i / OW % OH);
        const long long row = i / ((long long)OW * OH);  // (n, c, kh, kw)
        const int kw = (int)(row % KW);
        const int kh = (int)(row / KW % KH);
        const long long image = row / ((long long)KW * KH);  // (n, c)
        const int h = oh * sh - ph + kh * dh;
        const int w = ow * sw - pw + kw * dw;
        const bool inside = h >= 0 && h < H && w >= 0 && w < W;
        cols[i] = inside ? x[(image * H + h) * W + w] : T(0);
    }
}
