// max_pool: the maximum of each window and which tap holds it; max_pool_backward: dy to the winners.
//
//   y[c, oh, ow]      = max over (kh, kw) of x[c, oh*SH - PH + kh*DH, ow*SW - PW + kw*DW]
//   winner[c, oh, ow] = kh*KW + kw of the first maximum; the padding is -inf, NaN wins
//   dx[c, h, w]       = sum of dy[c, oh, ow] over the windows whose winner is this pixel
//
//   x, dx (I, C, H, W)   y, dy, winner (I, C, OH, OW)
//   Shape   C, H, W, KH, KW, OH, OW, SH, SW, PH, PW, DH, DW
//
// Threads: one per number of the result; backward gathers tap by tap, without atomics.
// NumPy twins: max_pool and max_pool_backward in nplenet/layers/pooling.py.

template <int THREADS, class Shape>
__device__ void max_pool(const T* x, T* y, int* winner, int count)
{
    constexpr int C = Shape::C, H = Shape::H, W = Shape::W, OH = Shape::OH, OW = Shape::OW;
    for (int i = threadIdx.x; i < count * C * OH * OW; i += THREADS) {
        const int left = i % OW * Shape::SW - Shape::PW, top = i / OW % OH * Shape::SH - Shape::PH;
        const T* image = x + i / (OW * OH) * H * W;
        T best = -T(__int_as_float(0x7f800000));
        int tap = 0;
        for (int kh = 0; kh < Shape::KH; ++kh) {
            const int h = top + kh * Shape::DH;
            if (h < 0 || h >= H) continue;
            for (int kw = 0; kw < Shape::KW; ++kw) {
                const int w = left + kw * Shape::DW;
                if (w < 0 || w >= W) continue;
                const T value = image[h * W + w];
                if (value > best || value != value) {
                    best = value;
                    tap = kh * Shape::KW + kw;
                }
            }
        }
        y[i] = best;
        winner[i] = tap;
    }
}

template <int THREADS, class Shape>
__device__ void max_pool_backward(const T* dy, const int* winner, T* dx, int count)
{
    constexpr int C = Shape::C, H = Shape::H, W = Shape::W, OH = Shape::OH, OW = Shape::OW;
    for (int i = threadIdx.x; i < count * C * H * W; i += THREADS) {
        const int w = i % W, h = i / W % H, image = i / (W * H) * OH * OW;
        T sum = T(0);
        for (int kh = 0; kh < Shape::KH; ++kh) {
            const int top = h + Shape::PH - kh * Shape::DH, oh = top / Shape::SH;
            if (top < 0 || top % Shape::SH != 0 || oh >= OH) continue;
            for (int kw = 0; kw < Shape::KW; ++kw) {
                const int left = w + Shape::PW - kw * Shape::DW, ow = left / Shape::SW;
                if (left < 0 || left % Shape::SW != 0 || ow >= OW) continue;
                const int at = image + oh * OW + ow;
                sum += dy[at] * T(winner[at] == kh * Shape::KW + kw);
            }
        }
        dx[i] = sum;
    }
}
