// head: the images of a block, gathered from the data set, augmented, as floats of type T.
//
//   x[i, c, h, w] = (value / 255 - normal[0, c]) / normal[1, c], where value begins as
//       images[order[e], c, hi, wi]     wi = (A0 w + A1 h + A2) >> 16, hi = (A3 w + A4 h + A5) >> 16
//       or fill, if (hi, wi) lies outside            (A0 ... A5 are coefficients[e], e = first + n0 + i)
//   and becomes, where the flags say so,
//       255 - value                                             if inverted[e]
//       (19595 R + 38470 G + 7471 B + 32768) >> 16, for C = 3,  if gray[e]
//   An image of floats is taken as it is: it is neither augmented nor divided nor normalised.
//
//   images        (M, C, H, W) unsigned char, float or double
//   order         (entries), or null: image e itself
//   coefficients  (entries, 6), inverted, gray (entries), each may be null
//   normal        (2, C), mean and standard deviation of each channel, or null: 0 and 1
//   x             (I, C, H, W)
//   Shape         C, H, W
//
// Threads: one per pixel with all its channels. Neighbouring threads differ in w. The order of an entry, its
// coefficients and coins are the same for all threads of an image: broadcast loads, from cache. Global
// memory: a byte (or float) read per value; nothing is written.
// NumPy twin: augment_batch in nplenet/augment/pipeline.py, to the last bit.

template <int C>
__device__ T normalised(T value, const T* __restrict__ normal, int c)
{
    return normal ? (value - normal[c]) / normal[C + c] : value;
}

template <int THREADS, class Shape>
__device__ void head(const Source* __restrict__ images, const int* __restrict__ order,
                     const int* __restrict__ coefficients, const unsigned char* __restrict__ inverted,
                     const unsigned char* __restrict__ gray, const T* __restrict__ normal, int fill,
                     long long first, int count, T* x)
{
    constexpr int C = Shape::C, H = Shape::H, W = Shape::W, PLANE = H * W;
    for (int i = threadIdx.x; i < count * PLANE; i += THREADS) {
        const int pixel = i % PLANE;
        const long long entry = first + i / PLANE;
        const Source* image = images + (order ? order[entry] : entry) * (long long)(C * PLANE);
        T* out = x + i / PLANE * C * PLANE + pixel;
        if constexpr (sizeof(Source) > 1) {
            for (int c = 0; c < C; ++c) out[c * PLANE] = T(image[c * PLANE + pixel]);
        } else {
            int source = pixel;  // -1 for outside
            if (coefficients) {
                const int* a = coefficients + 6 * entry;
                const int w = pixel % W, h = pixel / W;
                const int wi = (a[0] * w + a[1] * h + a[2]) >> 16;
                const int hi = (a[3] * w + a[4] * h + a[5]) >> 16;
                source = wi >= 0 && wi < W && hi >= 0 && hi < H ? hi * W + wi : -1;
            }
            const bool invert = inverted && inverted[entry];
            if constexpr (C == 3) {
                if (gray && gray[entry]) {
                    int value[3];
                    for (int c = 0; c < 3; ++c) {
                        const int v = source < 0 ? fill : image[c * PLANE + source];
                        value[c] = invert ? 255 - v : v;
                    }
                    const int luminance = (19595 * value[0] + 38470 * value[1] + 7471 * value[2] + 32768) >> 16;
                    for (int c = 0; c < 3; ++c) out[c * PLANE] = normalised<C>(T(luminance) / T(255), normal, c);
                    continue;
                }
            }
            for (int c = 0; c < C; ++c) {
                const int v = source < 0 ? fill : image[c * PLANE + source];
                out[c * PLANE] = normalised<C>(T(invert ? 255 - v : v) / T(255), normal, c);
            }
        }
    }
}
