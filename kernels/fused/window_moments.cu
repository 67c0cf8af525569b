// Mean and covariance of the pixels of a window, over all windows of a batch.
//
//   window_moments, of bytes b[k], k = (c, kh, kw), K pixels in a window:
//       row[k]         = sum of b[k] over the windows of the block's images
//       row[K + K j + k] = sum of b[j] b[k], j <= k                                       integers, so exact
//   join_window_moments, of x = (b / 255 - normal[0, c]) / normal[1, c] and all M windows of the batch:
//       moments[k]           = mean of x[k]
//       moments[K + K j + k] = mean of x[j] x[k] - mean[j] mean[k]                              covariance
//
// A convolution is linear: its output has the mean w . mean and the variance w^T covariance w, whatever the
// weights w are. So a batch norm behind the first convolution needs no pass over the batch; see first_norm.cu.
//
// Windows overlap. The dot product r of OW neighbours in one row with OW in another is shared by KH - |d| pairs:
//
//              j                          r belongs to pixels (kh, j) and (kh + d, l) of the windows in row
//    row u     . [ . . . . . . ] . .      oh = u - kh of the output, for each kh
//    row u+d   . . [ . . . . . . ] .
//                l
//
//   rows (blocks, K + K * K)   normal (2, C), or null: 0 and 1
//   frame (C * FH + 1, ROW) bytes, shared: an image with its padding, and a row of ones, with which the dot
//   product is a sum; sums (K + K * K), shared
//   Shape   C, H, W, TOP, LEFT, FH, ROW: a multiple of 4 with 4 bytes more than a row, KH, KW, OH, OW
//
// Threads of window_moments: one per (c, c', d, j, l), so that no other thread adds to its sums: no atomics. A
// load has four pixels, and so has a multiply-add; a shift brings them to where the window begins. Global
// memory: a byte read per pixel. Threads of join_window_moments: one per pair of pixels.
// NumPy twins: im2col in nplenet/layers/conv.py, batch_norm_sums in nplenet/layers/batchnorm.py.

// Return the dot product of OW bytes from `left` on in one row with OW from `other_left` on in another.
template <int OW>
__device__ __forceinline__ unsigned row_product(const unsigned* row, int left, const unsigned* other, int other_left)
{
    constexpr int WORDS = (OW + 3) / 4, LAST = OW - 4 * (WORDS - 1);
    row += left / 4;
    other += other_left / 4;
    unsigned before = row[0], other_before = other[0], sum = 0;
#pragma unroll
    for (int i = 0; i < WORDS; ++i) {
        const unsigned behind = row[i + 1], other_behind = other[i + 1];
        unsigned four = __funnelshift_r(before, behind, left % 4 * 8);
        if (i == WORDS - 1 && LAST < 4) four &= (1u << LAST % 4 * 8) - 1;
        sum = __dp4a(four, __funnelshift_r(other_before, other_behind, other_left % 4 * 8), sum);
        before = behind;
        other_before = other_behind;
    }
    return sum;
}

// Images block, block + blocks, ... of the step whose first entry in the feed is `first`; see head.cu.
template <int THREADS, class Shape>
__device__ void window_moments(const Source* __restrict__ images, const int* __restrict__ order,
                               const int* __restrict__ coefficients, const unsigned char* __restrict__ inverted,
                               const unsigned char* __restrict__ gray, int fill, long long first, int count,
                               int block, int blocks, unsigned char* frame, unsigned long long* sums,
                               unsigned long long* row)
{
    constexpr int C = Shape::C, W = Shape::W, FH = Shape::FH, ROW = Shape::ROW, KH = Shape::KH, KW = Shape::KW;
    constexpr int K = C * KH * KW, SHIFTS = 2 * KH - 1, PAIRS = C * C * SHIFTS * KW * KW;
    for (int i = threadIdx.x; i < (C * FH + 1) * ROW; i += THREADS) frame[i] = i < C * FH * ROW ? 0 : 1;
    fill_zero<THREADS>(sums, K + K * K);
    const unsigned* words = reinterpret_cast<const unsigned*>(frame);
    for (int image = block; image < count; image += blocks) {
        const Origin from = origin_of<Shape>(images, order, coefficients, inverted, gray, first + image);
        __syncthreads();
        each_of<THREADS, 4>(
            Shape::H * W, [=](int pixel) { return bytes_of<Shape>(from, pixel, fill); },
            [=](int pixel, const Pixel<C, int>& bytes) {
                const int h = Shape::TOP + pixel / W, w = Shape::LEFT + pixel % W;
#pragma unroll
                for (int c = 0; c < C; ++c) frame[(c * FH + h) * ROW + w] = (unsigned char)bytes.values[c];
            });
        __syncthreads();
        for (int task = threadIdx.x; task < PAIRS + C * KW; task += THREADS) {
            const bool pair = task < PAIRS;
            const int l = task % KW, j = pair ? task / KW % KW : l;
            const int d = pair ? task / (KW * KW) % SHIFTS - (KH - 1) : 0;
            const int other = task / (KW * KW * SHIFTS) % C, c = (pair ? task / (KW * KW * SHIFTS * C) : task / KW) % C;
            const bool twice = other < c || (other == c && (d < 0 || (d == 0 && l < j)));
            if (pair && twice) continue;
            const unsigned* upper = words + c * FH * (ROW / 4);
            const unsigned* lower = words + (pair ? other * FH : C * FH) * (ROW / 4);  // of ones for a sum
            unsigned own[KH];
#pragma unroll
            for (int kh = 0; kh < KH; ++kh) own[kh] = 0;
#pragma unroll 1
            for (int u = max(0, -d); u < min(FH, FH - d); ++u) {
                const unsigned* below = lower + (pair ? u + d : 0) * (ROW / 4);
                const unsigned r = row_product<Shape::OW>(upper + u * (ROW / 4), j, below, pair ? l : 0);
#pragma unroll
                for (int kh = 0; kh < KH; ++kh)
                    if (u >= kh && u < kh + Shape::OH) own[kh] += r;
            }
#pragma unroll
            for (int kh = 0; kh < KH; ++kh) {
                const int k = (c * KH + kh) * KW + j, with = (other * KH + kh + d) * KW + l;
                if (kh + d >= 0 && kh + d < KH) sums[pair ? K + k * K + with : k] += own[kh];
            }
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < K + K * K; i += THREADS) row[i] = sums[i];
}

template <int THREADS, class Shape>
__device__ void join_window_moments(const unsigned long long* __restrict__ rows, int blocks, int images,
                             const T* __restrict__ normal, double* means, double* moments)
{
    constexpr int C = Shape::C, TAPS = Shape::KH * Shape::KW, K = C * TAPS, SIZE = K + K * K;
    const double M = (double)images * Shape::OH * Shape::OW;
    auto mean_of = [=](int i) {
        unsigned long long sum = 0;
        for (int block = 0; block < blocks; ++block) sum += rows[(long long)block * SIZE + i];
        return sum / M;
    };
    for (int k = threadIdx.x; k < K; k += THREADS) means[k] = mean_of(k);
    __syncthreads();
    for (int i = threadIdx.x; i < K * K; i += THREADS) {
        const int j = i / K, k = i % K;
        const double std_j = normal ? normal[C + j / TAPS] : T(1), std_k = normal ? normal[C + k / TAPS] : T(1);
        const double covariance = mean_of(K + min(j, k) * K + max(j, k)) - means[j] * means[k];
        moments[K + i] = covariance / (255.0 * 255.0 * std_j * std_k);
        if (j == 0) moments[k] = (means[k] / 255.0 - (normal ? normal[k / TAPS] : T(0))) / std_k;
    }
}
