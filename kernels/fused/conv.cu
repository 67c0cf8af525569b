// Convolution, forward and back to its input: both are a correlation of a framed image with weights.
//
//   y[f, oh, ow] = bias[f] + sum over c, kh, kw of frame[c, oh * SH + kh, ow * SW + kw] * weight[c, kh, kw, f]
//
// Forward, the frame is the input with its padding, zeros:
//
//        .-----------------.      Backward, dx is the correlation, at stride 1, of a frame of dy with the weights
//        | 0  0  0  0  0  0|      turned by 180 degrees and f and c exchanged. In that frame dy lies
//        | 0 .---------. 0  |      KH - 1 - padding below the top, KW - 1 - padding right of the left edge,
//        | 0 |    x    | 0  |      and where the stride was SH x SW, its rows and columns lie that far apart
//        | 0 '---------' 0  |      with zeros between.
//        | 0  0  0  0  0  0|
//        '-----------------'      The frame is a little wider than that, so that the last tile of a row stays inside.
//
// In shared memory the weights have the output channel fastest, filled up with zeros to whole tiles.
//
//   x (I, C, H, W)   frame (I, C, FH, FW)   weights (C * KH * KW, FP)   y (I, F, OH, OW)
//   Shape   frame: C, H, W, TOP, LEFT, SH, SW, FH, FW, VECTOR, INSIDE: whether all of x lies in it
//           correlate: C, FH, FW, KH, KW, SH, SW, F, FP, OH, OW, FT, PT, SPLIT, TOP, SECOND,
//           VECTOR: numbers per load of the frame, a divisor of FW and of PT * SW
//
// Threads of correlate: one per tile of FT channels
// x PT neighbouring pixels of y, which it keeps in registers. Per c and kh it loads (PT - 1) * SW + KW
// numbers of the frame and KW packs of FT weights, for KW * FT * PT multiply-adds: 2 + 5 loads of 16 bytes
// for 80 of them with floats, FT = PT = 4 and KW = 5. Neighbouring threads have neighbouring tiles of a row:
// their loads of VECTOR numbers meet in no bank, and the weights are a broadcast. Where there are fewer tiles than
// threads, or larger ones save loads, SPLIT neighbouring lanes share a tile: each takes every SPLITth channel, and
// shuffles add up what they have.
// 2 * F * OH * OW * C * KH * KW FLOP per image.
//
//      | 0 0 |  <- window of row r        Backward, a frame is zero above and below its SECOND rows of dy. Row r
//      | 0 0 |                            of dx has taps on dy only from kh = TOP - r on, row r + SECOND only before
//      .-----.                            that one. So a thread takes both, with KH rows of taps in all, and no
//      | dy  |                            work is done on zeros.
//      '-----'
//      | 0 0 |  <- of row r + SECOND
//
// NumPy twins: im2col, col2im in nplenet/layers/conv.py with product in nplenet/layers/products.py.

// Copy images into their frames, whose border holds zeros already.
template <int THREADS, class Shape>
__device__ void frame_image(const T* x, T* frame, int count)
{
    constexpr int C = Shape::C, H = Shape::H, W = Shape::W, FH = Shape::FH, FW = Shape::FW, N = Shape::VECTOR;
    each_of<THREADS, 4>(
        count * C * H * (W / N), [=](int i) { return pack_at<N>(x + i * N); },
        [=](int i, const Pack<N>& some) {
            const int h = Shape::TOP + i / (W / N) % H * Shape::SH, w = Shape::LEFT + i % (W / N) * N * Shape::SW;
            const bool inside = Shape::INSIDE || (h >= 0 && h < FH && w >= 0 && w < FW);
            if (inside) *reinterpret_cast<Pack<N>*>(frame + (i / (W / N * H) * FH + h) * FW + w) = some;
        });
}

// Arrange weight (F, C, KH, KW) for the forward: weights (C * KH * KW, FP).
template <int THREADS, class Shape>
__device__ void arrange_weights(const T* __restrict__ weight, T* weights)
{
    constexpr int K = Shape::C * Shape::KH * Shape::KW, F = Shape::F, FP = Shape::FP;
    each_of<THREADS, 8>(
        FP * K, [=](int i) { return i < F * K ? weight[i] : T(0); },
        [=](int i, T value) { weights[i % K * FP + i / K] = value; });
}

// Arrange weight for the way back: Shape has the input channels as F. The weight is (Shape::C, Shape::F, KH, KW).
template <int THREADS, class Shape>
__device__ void arrange_turned_weights(const T* __restrict__ weight, T* weights)
{
    constexpr int TAPS = Shape::KH * Shape::KW, C = Shape::C, F = Shape::F, FP = Shape::FP;
    each_of<THREADS, 8>(
        C * FP * TAPS,
        [=](int i) {
            const int tap = i % TAPS, f = i / TAPS % FP, c = i / (TAPS * FP);
            return f < F ? weight[(c * F + f) * TAPS + tap] : T(0);
        },
        [=](int i, T value) {
            const int tap = i % TAPS, f = i / TAPS % FP, c = i / (TAPS * FP);
            weights[(c * TAPS + TAPS - 1 - tap) * FP + f] = value;
        });
}

// Add to the sums of a tile what row kh of the window gives, in channels part, part + SPLIT, ...; `row` and `tap`
// are of channel 0.
template <class Shape>
__device__ __forceinline__ void add_row(int part, const T* row, const T* tap, T (&sums)[Shape::FT][Shape::PT])
{
    constexpr int KH = Shape::KH, KW = Shape::KW, FT = Shape::FT, PT = Shape::PT, VECTOR = Shape::VECTOR;
    constexpr int PLANE = Shape::FH * Shape::FW, TAPS = KH * KW * Shape::FP, SPLIT = Shape::SPLIT;
    constexpr int PACKS = ((PT - 1) * Shape::SW + KW + VECTOR - 1) / VECTOR;
#pragma unroll 1
    for (int c = part; c < Shape::C; c += SPLIT) {
        T inputs[PACKS * VECTOR];
#pragma unroll
        for (int j = 0; j < PACKS; ++j) {
            const Pack<VECTOR> some = pack_at<VECTOR>(row + c * PLANE + j * VECTOR);
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) inputs[j * VECTOR + e] = some.values[e];
        }
#pragma unroll
        for (int kw = 0; kw < KW; ++kw) {
            const Pack<FT> w = pack_at<FT>(tap + c * TAPS + kw * Shape::FP);
#pragma unroll
            for (int f = 0; f < FT; ++f)
#pragma unroll
                for (int p = 0; p < PT; ++p) sums[f][p] += w.values[f] * inputs[p * Shape::SW + kw];
        }
    }
}

template <int THREADS, class Shape>
__device__ void correlate(const T* frame, const T* weights, const T* __restrict__ bias, T* y, int count)
{
    constexpr int FH = Shape::FH, FW = Shape::FW, KH = Shape::KH, F = Shape::F, OH = Shape::OH, OW = Shape::OW;
    constexpr int FT = Shape::FT, PT = Shape::PT, ROW = (OW + PT - 1) / PT, GROUPS = Shape::FP / FT;
    constexpr int SECOND = Shape::SECOND, UNITS = SECOND ? SECOND : OH, SPLIT = Shape::SPLIT;
    const unsigned together = ((1u << SPLIT) - 1) << threadIdx.x % 32 / SPLIT * SPLIT;
#pragma unroll 1
    for (int task = computed_here(threadIdx.x); task < count * GROUPS * UNITS * ROW * SPLIT; task += THREADS) {
        const int part = task % SPLIT, tile = task / SPLIT, left = tile % ROW * PT, oh = tile / ROW % UNITS;
        const int f0 = tile / (ROW * UNITS) % GROUPS * FT, image = tile / (ROW * UNITS * GROUPS);
        const bool two = SECOND && oh + SECOND < OH;  // also row oh + SECOND, by taps 0 ... first - 1
        const int first = SECOND ? max(Shape::TOP - oh, 0) : 0;
        T sums[FT][PT];

        auto begin = [&]() {
#pragma unroll
            for (int f = 0; f < FT; ++f) {
                const T start = bias && part == 0 && f0 + f < F ? bias[f0 + f] : T(0);
#pragma unroll
                for (int p = 0; p < PT; ++p) sums[f][p] = start;
            }
        };
        auto write = [&](int row) {
#pragma unroll
            for (int f = 0; f < FT; ++f)
#pragma unroll
                for (int p = 0; p < PT; ++p) {
                    const T sum = lanes_sum<SPLIT>(sums[f][p], together);
                    if ((f * PT + p) % SPLIT == part && f0 + f < F && left + p < OW)
                        y[((image * F + f0 + f) * OH + row) * OW + left + p] = sum;
                }
        };

        begin();
#pragma unroll 1
        for (int kh = two ? 0 : first; kh < KH; ++kh) {
            if (two && kh == first) {
                write(oh + SECOND);
                begin();
            }
            const int row = (two && kh < first ? oh + SECOND : oh) * Shape::SH + kh;
            const T* input = frame + (image * Shape::C * FH + row) * FW + left * Shape::SW;
            add_row<Shape>(part, input, weights + kh * Shape::KW * Shape::FP + f0, sums);
        }
        write(oh);
    }
}
