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
//   coefficients  (entries, 6), an affine map each; inverted, gray (entries); each may be null
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

// A pixel, in all its channels.
template <int C, typename Number = T>
struct Pixel {
    Number values[C];
};

// Where a pixel comes from: the image and the settings of its augmentation, each of which may be null.
struct Origin {
    const Source* image;
    const int* coefficients;
    bool invert, gray;
};

// The origin of an entry of the feed.
template <class Shape>
__device__ __forceinline__ Origin origin_of(const Source* images, const int* order, const int* coefficients,
                                            const unsigned char* inverted, const unsigned char* gray,
                                            long long entry)
{
    constexpr int SIZE = Shape::C * Shape::H * Shape::W;
    return {images + (order ? order[entry] : entry) * (long long)SIZE,
            coefficients ? coefficients + 6 * entry : nullptr, inverted && inverted[entry], gray && gray[entry]};
}

// An augmented pixel of an image of bytes, 0 ... 255.
template <class Shape>
__device__ __forceinline__ Pixel<Shape::C, int> bytes_of(const Origin& from, int pixel, int fill)
{
    constexpr int C = Shape::C, W = Shape::W, PLANE = Shape::H * W;
    bool inside = true;
    int source = pixel;
    if (from.coefficients) {
        const int* a = from.coefficients;
        const int w = pixel % W, h = pixel / W;
        const int wi = (a[0] * w + a[1] * h + a[2]) >> 16, hi = (a[3] * w + a[4] * h + a[5]) >> 16;
        inside = wi >= 0 && wi < W && hi >= 0 && hi < Shape::H;
        source = hi * W + wi;
    }
    Pixel<C, int> result;
    int* const values = result.values;
#pragma unroll
    for (int c = 0; c < C; ++c) {
        const int v = inside ? int(from.image[c * PLANE + source]) : fill;
        values[c] = from.invert ? 255 - v : v;
    }
    if constexpr (C == 3)
        if (from.gray)
            values[0] = values[1] = values[2] =
                (19595 * values[0] + 38470 * values[1] + 7471 * values[2] + 32768) >> 16;
    return result;
}

template <class Shape>
__device__ __forceinline__ Pixel<Shape::C> pixel_of(const Origin& from, int pixel, const T* __restrict__ normal,
                                                    int fill)
{
    constexpr int C = Shape::C, PLANE = Shape::H * Shape::W;
    Pixel<C> result;
    if constexpr (sizeof(Source) > 1) {
        for (int c = 0; c < C; ++c) result.values[c] = T(from.image[c * PLANE + pixel]);
    } else {
        const Pixel<C, int> bytes = bytes_of<Shape>(from, pixel, fill);
#pragma unroll
        for (int c = 0; c < C; ++c) result.values[c] = normalised<C>(T(bytes.values[c]) / T(255), normal, c);
    }
    return result;
}

template <int THREADS, int I, class Shape>
__device__ void head(const Source* __restrict__ images, const int* __restrict__ order,
                     const int* __restrict__ coefficients, const unsigned char* __restrict__ inverted,
                     const unsigned char* __restrict__ gray, const T* __restrict__ normal, int fill,
                     long long first, int count, T* x)
{
    constexpr int C = Shape::C, PLANE = Shape::H * Shape::W;
    each_of<THREADS, 8>(
        count * PLANE,
        [=](int i) {
            const long long entry = first + (I == 1 ? 0 : i / PLANE);
            const Origin from = origin_of<Shape>(images, order, coefficients, inverted, gray, entry);
            return pixel_of<Shape>(from, i % PLANE, normal, fill);
        },
        [=](int i, const Pixel<C>& pixel) {
#pragma unroll
            for (int c = 0; c < C; ++c) x[(i / PLANE * C + c) * PLANE + i % PLANE] = pixel.values[c];
        });
}
