// conv_gradient: what the images of a block add to the gradient of a convolution's weight.
//
//   sums[s, f, c, kh, kw] += sum over i, ow and the oh with oh % PARTS = s
//                            of dy[i, f, oh, ow] * frame[i, c, oh * SH + kh, ow * SW + kw]
//   bias_sums[f]          += sum over i, oh, ow of dy[i, f, oh, ow]
//
//   frame (I, C, FH, FW)   dy (I, F, OH, OW)   sums (PARTS, F, C, KH, KW), in shared memory, or in global memory
//   with PARTS = 1         bias_sums (F)
//   Shape   C, FH, FW, KH, KW, SH, SW, F, OH, OW, FT, PT, KR, PARTS; frame as in conv.cu, but with an odd FW:
//           threads that read in different rows do not meet in a bank
//
// Threads: one per (s, FT filters, c, KR rows of taps). It keeps all its taps in registers over the rows of an
// image, and adds them to `sums`, of which no other thread adds to the same number: no atomics. Per PT pixels it
// loads FT * PT numbers of dy and KR * ((PT - 1) * SW + KW) of the frame for FT * PT * KR * KW multiply-adds: 55
// loads for 250 with a 5x5 window, FT = 2, PT = 5. Neighbouring threads differ in c: dy is a broadcast. After the
// last image `write_parts` adds up the parts and writes the row of the block; a job beside the next pass (sums.cu)
// adds up the blocks. 2 * F * OH * OW * C * KH * KW FLOP per image.
// NumPy twin: add_weight_gradient in nplenet/layers/conv.py.

template <int THREADS, class Shape>
__device__ void conv_gradient(const T* frame, const T* dy, T* sums, int count)
{
    constexpr int C = Shape::C, FH = Shape::FH, FW = Shape::FW, KH = Shape::KH, KW = Shape::KW, KR = Shape::KR;
    constexpr int F = Shape::F, OH = Shape::OH, OW = Shape::OW, FT = Shape::FT, PT = Shape::PT;
    constexpr int GROUPS = (F + FT - 1) / FT, BANDS = KH / KR, INPUTS = (PT - 1) * Shape::SW + KW;
#pragma unroll 1
    for (int task = computed_here(threadIdx.x); task < Shape::PARTS * GROUPS * C * BANDS; task += THREADS) {
        const int c = task % C, f0 = task / C % GROUPS * FT, band = task / (C * GROUPS) % BANDS * KR;
        const int part = task / (C * GROUPS * BANDS);
        T own[FT][KR][KW];
#pragma unroll
        for (int f = 0; f < FT; ++f)
#pragma unroll
            for (int k = 0; k < KR * KW; ++k) own[f][k / KW][k % KW] = T(0);
#pragma unroll 1
        for (int i = 0; i < count; ++i)
#pragma unroll 1
            for (int oh = part; oh < OH; oh += Shape::PARTS)
#pragma unroll 1
                for (int left = 0; left < OW; left += PT) {
                    T d[FT][PT];
#pragma unroll
                    for (int f = 0; f < FT; ++f)
#pragma unroll
                        for (int p = 0; p < PT; ++p) {
                            const bool inside = (F % FT == 0 || f0 + f < F) && (OW % PT == 0 || left + p < OW);
                            d[f][p] = inside ? dy[((i * F + f0 + f) * OH + oh) * OW + left + p] : T(0);
                        }
                    const T* row = frame + ((i * C + c) * FH + oh * Shape::SH + band) * FW + left * Shape::SW;
#pragma unroll
                    for (int kh = 0; kh < KR; ++kh, row += FW) {
                        T inputs[INPUTS];
#pragma unroll
                        for (int j = 0; j < INPUTS; ++j) inputs[j] = row[j];
#pragma unroll
                        for (int kw = 0; kw < KW; ++kw)
#pragma unroll
                            for (int f = 0; f < FT; ++f)
#pragma unroll
                                for (int p = 0; p < PT; ++p)
                                    own[f][kh][kw] += d[f][p] * inputs[p * Shape::SW + kw];
                    }
                }
#pragma unroll
        for (int f = 0; f < FT; ++f)
#pragma unroll
            for (int k = 0; k < KR * KW; ++k)
                if (f0 + f < F) sums[(((part * F + f0 + f) * C + c) * KH + band) * KW + k] += own[f][k / KW][k % KW];
    }
}

// A warp per filter.
template <int THREADS, class Shape>
__device__ void conv_bias_gradient(const T* dy, T* bias_sums, int count)
{
    constexpr int F = Shape::F, PIXELS = Shape::OH * Shape::OW;
    const int thread = computed_here(threadIdx.x), lane = thread % 32;
    for (int f = thread / 32; f < F; f += THREADS / 32) {
        T sum = T(0);
        for (int i = 0; i < count; ++i)
            for (int p = lane; p < PIXELS; p += 32) sum += dy[(i * F + f) * PIXELS + p];
        sum = lanes_sum<32>(sum);
        if (lane == 0) bias_sums[f] += sum;
    }
}

template <int THREADS, int PARTS>
__device__ void write_parts(const T* sums, T* row, int size)
{
    for (int i = threadIdx.x; i < size; i += THREADS) {
        T sum = T(0);
        for (int part = 0; part < PARTS; ++part) sum += sums[part * size + i];
        row[i] = sum;
    }
}
