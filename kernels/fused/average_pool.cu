// average_pool: the mean of each window; average_pool_backward: its transpose, as a gather.
//
//   y[c, oh, ow] = sum of x[c, oh*SH - PH + kh, ow*SW - PW + kw] over (kh, kw) / divisor(oh, ow)
//   dx[c, h, w]  = sum over the windows that hold (h, w) of dy[c, oh, ow] / divisor(oh, ow)
//
//   divisor = pixels of the window on the image, with COUNT_PADDING also those on its padding, never what lies beyond
//   x, dx (I, C, H, W)   y, dy (I, C, OH, OW)
//   Shape   C, H, W, KH, KW, OH, OW, SH, SW, PH, PW, COUNT_PADDING
//
// Threads: one per number of the result; terms are added tap by tap. Neighbouring threads differ in ow (or
// w).
// NumPy twins: average_pool and average_pool_backward in nplenet/layers/pooling.py.

// Return how many of the window's pixels on one axis count; the window begins at `start`.
__device__ __forceinline__ int covered(int start, int size, int length, int border)
{
    return min(start + size, length + border) - max(start, -border);
}

template <class Shape>
__device__ __forceinline__ T divisor(int top, int left)
{
    constexpr int BH = Shape::COUNT_PADDING ? Shape::PH : 0, BW = Shape::COUNT_PADDING ? Shape::PW : 0;
    return T(covered(top, Shape::KH, Shape::H, BH) * covered(left, Shape::KW, Shape::W, BW));
}

template <int THREADS, class Shape>
__device__ void average_pool(const T* x, T* y, int count)
{
    constexpr int C = Shape::C, H = Shape::H, W = Shape::W, OH = Shape::OH, OW = Shape::OW;
    for (int i = threadIdx.x; i < count * C * OH * OW; i += THREADS) {
        const int left = i % OW * Shape::SW - Shape::PW, top = i / OW % OH * Shape::SH - Shape::PH;
        const T* image = x + i / (OW * OH) * H * W;
        T sum = T(0);
        for (int h = max(top, 0); h < min(top + Shape::KH, H); ++h)
            for (int w = max(left, 0); w < min(left + Shape::KW, W); ++w) sum += image[h * W + w];
        y[i] = sum / divisor<Shape>(top, left);
    }
}

template <int THREADS, class Shape>
__device__ void average_pool_backward(const T* dy, T* dx, int count)
{
    constexpr int C = Shape::C, H = Shape::H, W = Shape::W, OH = Shape::OH, OW = Shape::OW;
    for (int i = threadIdx.x; i < count * C * H * W; i += THREADS) {
        const int w = i % W, h = i / W % H;
        const T* image = dy + i / (W * H) * OH * OW;
        T sum = T(0);
        for (int kh = 0; kh < Shape::KH; ++kh) {
            const int top = h + Shape::PH - kh, oh = top / Shape::SH;
            if (top < 0 || top % Shape::SH != 0 || oh >= OH) continue;
            for (int kw = 0; kw < Shape::KW; ++kw) {
                const int left = w + Shape::PW - kw, ow = left / Shape::SW;
                if (left < 0 || left % Shape::SW != 0 || ow >= OW) continue;
                sum += image[oh * OW + ow] / divisor<Shape>(top - Shape::PH, left - Shape::PW);
            }
        }
        dx[i] = sum;
    }
}
