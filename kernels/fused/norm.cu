// Batch normalisation of each channel, with the nonlinearity and the average pool that follow it, if they do.
//
//   p = (x - mean) * scale + bias       scale = weight * inverse_std, inverse_std = 1 / sqrt(var + eps)
//   y = mean of act(p) over the PH x PW pixels of a window                            (1 x 1 without a pool)
//
// The batch is coupled four times; each time a pass ends, and the blocks leave a row of partial sums:
//
//   pass k     each block: mean and sum of (x - mean)^2 of its own images   -> rows (blocks, C)  norm_statistics.cu
//   pass k+1   each block: join all rows, in one order; then y                                   this file
//   pass m     each block: sums of d and d * xhat                           -> rows (blocks, C)  norm_gradient.cu
//   pass m+1   each block: join them; then dx                                                    norm_gradient.cu
//
// Neither p nor act(p) is kept: backward makes them again from x, but for the first layers (first_norm.cu).
//
//   x (I, C, H, W)   y (I, C, OH, OW)   values (C), shared
//   Shape   C, H, W, OH, OW, PH, PW, L = H * W, AHEAD: cells that a thread loads before it uses the first
//
// Threads: one per cell (cells.cu) with a window. Global memory: x is read once.
// NumPy twins: batch_norm_training, batch_norm_inference in nplenet/layers/batchnorm.py.

struct NormValues {
    T center, scale, bias;
    double inverse_std;
};

__device__ __forceinline__ T normalised(const NormValues& v, T x)
{
    return (x - v.center) * v.scale + v.bias;
}

template <int THREADS, int C>
__device__ void norm_values(const Two* statistics, const T* weight, const T* bias, double eps, NormValues* values)
{
    for (int c = threadIdx.x; c < C; c += THREADS) {
        const double inverse_std = 1.0 / sqrt(statistics[c].second + eps);
        values[c] = {T(statistics[c].first), T(weight[c] * inverse_std), bias[c], inverse_std};
    }
}

template <int THREADS, int C>
__device__ void running_values(const T* mean, const T* var, const T* weight, const T* bias, double eps,
                               NormValues* values)
{
    for (int c = threadIdx.x; c < C; c += THREADS) {
        const double inverse_std = 1.0 / sqrt((double)var[c] + eps);
        values[c] = {mean[c], T(weight[c] * inverse_std), bias[c], inverse_std};
    }
}

// Where `passed` is not null, it gets the pixels of each cell whose gradient passes: a bit each, at most eight.
template <int THREADS, int I, class Shape, class Activation>
__device__ void norm_forward(Activation act, const T* x, const NormValues* values, T* y, int count,
                             unsigned char* passed = nullptr)
{
    constexpr int C = Shape::C, OH = Shape::OH, OW = Shape::OW, PIXELS = Shape::PH * Shape::PW;
    constexpr int MOST = (I * C * OH * OW + THREADS - 1) / THREADS;  // cells of a thread
    constexpr int GROUP = MOST < Shape::AHEAD ? MOST : Shape::AHEAD;
    each_of<THREADS, GROUP>(
        count * C * OH * OW,
        [=](int i) { return load_cell<Shape>(x, nullptr, i / (OH * OW), i / OW % OH, i % OW); },
        [=](int i, const Cell<Shape>& cell) {
            const NormValues& v = values[i / (OH * OW) % C];
            T sum = T(0);
            unsigned bits = 0;
#pragma unroll
            for (int e = 0; e < PIXELS; ++e) {
                const T p = normalised(v, cell.x[e / Shape::PW][e % Shape::PW]), result = act(p);
                sum += result;
                if (passed) bits |= unsigned(act.slope(p, result) != T(0)) << e;
            }
            y[i] = PIXELS == 1 ? sum : sum / T(PIXELS);
            if (passed) passed[i] = (unsigned char)bits;
        });
}
