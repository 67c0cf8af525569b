// augment_batch: gather images from a data set, map, invert, turn to gray, scale to 0 ... 1, normalise.
//
//   out[n, c, y, x] = (value / 255 - normal[0, c]) / normal[1, c], where value begins as
//       images[indexes[n], c, yi, xi]        xi = (A0 x + A1 y + A2) >> 16, yi = (A3 x + A4 y + A5) >> 16
//       or fill, if (xi, yi) lies outside    (Pillow's rule; A0 ... A5 are coefficients[n])
//   and becomes, where the flags say so,
//       255 - value                          if inverted[n]
//       (19595 R + 38470 G + 7471 B + 32768) >> 16, for C = 3, if gray[n]
//
//        output image n            source image            The map is affine: rotation, shift, zoom and
//        x ------->                                        shear are all in its six numbers. So a row of
//      y . . . . . . .            . . . . . . .            the output is a slanted line of the source,
//      | 0 1 2 3 4 5 6            . . . . . 5 6 fill       with one source pixel per thread. Pixels of
//      v . . . . . . .            . . 2 3 4 . .            the line outside the image become fill.
//        threads 0 to 6      fill 0 1 . . . . .
//
//   images        (M, C, H, W) uint8, C = 1 or 3
//   indexes       (N), each 0 ... M - 1
//   coefficients  (N, 6), or null: every pixel stays in its place
//   inverted, gray (N), or null: for none
//   normal        (2, C), mean and standard deviation of each channel, or null: 0 and 1
//   out           (N, C, H, W)
//
// Threads: one per pixel of out with all its channels, in a grid-stride loop. Neighbouring threads differ
// in x: writes are coalesced, and reads, along a slightly slanted line, nearly so. The divisions are
// IEEE's, as in NumPy, and everything before them is integers, so every bit is as in NumPy.
// NumPy twin: augment_batch in nplenet/augment/pipeline.py.

template <typename T>
__global__ void augment_batch(const unsigned char* __restrict__ images, const int* __restrict__ indexes,
                              const int* __restrict__ coefficients,
                              const unsigned char* __restrict__ inverted,
                              const unsigned char* __restrict__ gray, const T* __restrict__ normal,
                              T* __restrict__ out, int N, int C, int H, int W, int fill)
{
    const int plane = H * W;
    const long long total = (long long)N * plane;
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += step) {
        const int n = (int)(i / plane);
        const int pixel = (int)(i % plane);
        int source = pixel;  // -1 for outside
        if (coefficients) {
            const int* a = coefficients + 6 * (long long)n;
            const int x = pixel % W, y = pixel / W;
            const int xi = (a[0] * x + a[1] * y + a[2]) >> 16;
            const int yi = (a[3] * x + a[4] * y + a[5]) >> 16;
            source = xi >= 0 && xi < W && yi >= 0 && yi < H ? yi * W + xi : -1;
        }
        const unsigned char* image = images + (long long)indexes[n] * C * plane;
        const bool invert = inverted && inverted[n];
        int value[3];
        for (int c = 0; c < C; ++c) {
            const int v = source < 0 ? fill : image[c * (long long)plane + source];
            value[c] = invert ? 255 - v : v;
        }
        if (C == 3 && gray && gray[n]) {
            const int luminance = (19595 * value[0] + 38470 * value[1] + 7471 * value[2] + 32768) >> 16;
            value[0] = value[1] = value[2] = luminance;
        }
        for (int c = 0; c < C; ++c) {
            const T v = T(value[c]) / T(255);
            out[((long long)n * C + c) * plane + pixel] = normal ? (v - normal[c]) / normal[C + c] : v;
        }
    }
}
