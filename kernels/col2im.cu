// col2im: add each column back to the pixels it was read from; the transpose of im2col.
//
//   x[n, c, h, w] = sum over the (kh, kw, oh, ow) with oh*sh - ph + kh*dh = h and ow*sw - pw + kw*dw = w
//                   of cols[n, (c, kh, kw), (oh, ow)]
//
//   cols  (N, C*KH*KW, OH*OW)
//   x     (N, C, H, W)
//
// Threads: one per pixel of x, in a grid-stride loop. Each gathers its own KH*KW terms in a fixed order,
// so no atomics are needed and the same input gives the same bits. Neighbouring threads read
// neighbouring numbers of cols when the stride is 1.
// NumPy twin: col2im in nplenet/layers/conv.py.

template <typename T>
__global__ void col2im(const T* __restrict__ cols, T* __restrict__ x, int N, int C, int H, int W,
                       int KH, int KW, int OH, int OW, int sh, int sw, int ph, int pw, int dh, int dw)
{
    const long long total = (long long)N * C * H * W;
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += step) {
        const int w = (int)(i % W);
        const int h = (int)(i / W % H);
        const long long image = i / ((long long)W * H);  // (n, c)
        T sum = T(0);
        for (int kh = 0; kh < KH; ++kh) {
            const int top = h + ph - kh * dh;
            if (top < 0 || top % sh != 0 || top / sh >= OH) continue;
            for (int kw = 0; kw < KW; ++kw) {
                const int left = w + pw - kw * dw;
                if (left < 0 || left % sw != 0 || left / sw >= OW) continue;
                const long long row = (image * KH + kh) * KW + kw;
                sum += cols[(row * OH + top / sh) * OW + left / sw];
            }
        }
        x[i] = sum;
    }
}
