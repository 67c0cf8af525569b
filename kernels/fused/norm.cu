// Batch normalisation of each channel, with the nonlinearity and the average pool that follow it, if they do.
//
//   p = (x - mean) * scale + bias       scale = weight * inverse_std, inverse_std = 1 / sqrt(var + eps)
//   y = mean of act(p) over the PH x PW pixels of a window                            (1 x 1 without a pool)
//   d = dy of the pixel's window / (PH * PW) * act'(p)                                (0 where it has no window)
//   dbias = sum(d)    dweight = sum(d * xhat)    xhat = (x - mean) * inverse_std      over the M numbers of a channel
//   dx = scale * (d - dbias / M - xhat * dweight / M);  in inference dx = scale * d
//
// The batch is coupled four times; each time a pass ends, and the blocks leave a row of partial sums:
//
//   pass k     each block: mean and sum of (x - mean)^2 of its own images   -> rows (blocks, C)
//   pass k+1   each block: join all rows, in one order, so that all blocks agree on every bit; block 0 tracks the
//              running statistics and leaves mean and var for the passes of the backward
//   pass m     each block: sums of d and d * xhat                           -> rows (blocks, C)
//   pass m+1   each block: join them; block 0 writes dweight and dbias
//
// Neither p nor act(p) is kept: backward makes them again from x.
//
//   x, dx (I, C, H, W)   y, dy (I, C, OH, OW)   rows (blocks, C) of two doubles   values, slopes (C), shared
//   Shape   C, H, W, OH, OW, PH, PW, L = H * W, WIDTH, PARTS, ROWS
//
// Threads of the sums: PARTS groups of WIDTH neighbouring lanes per channel; sums of 16 numbers in T, beyond
// that in double, around the first number of the channel, so that nothing is lost beside a large mean.
// Threads of a join: ROWS per channel, coalesced over channels; Chan, Golub & LeVeque, 1983, "Algorithms for
// computing the sample variance", (2.1b). Forward, backward: one per number of the result. Global memory: x
// is read once per pass, x and dy are written once.
// NumPy twins: batch_norm_sums, batch_norm_center, batch_norm_training, batch_norm_inference,
// batch_norm_gradient_sums, batch_norm_backward in nplenet/layers/batchnorm.py.

struct NormValues {
    T center, scale, bias;
    double inverse_std;
};

struct NormSlopes {
    T slope, shift;
};

__device__ __forceinline__ T normalised(const NormValues& v, T x)
{
    return (x - v.center) * v.scale + v.bias;
}

// ---------------------------------------------------------------- statistics, and their join

template <int THREADS, class Shape>
__device__ void norm_statistics(const T* x, bool first, T* origins, Two* sums, T* saved, int count)
{
    constexpr int C = Shape::C, L = Shape::L, WIDTH = Shape::WIDTH, TEAMS = C * Shape::PARTS;
    const int size = count * L;
    for (int begin = 0; begin < TEAMS; begin += THREADS / WIDTH) {
        const int team = begin + threadIdx.x / WIDTH, c = team % C;
        const bool busy = team < TEAMS;
        T origin = T(0);
        if (busy) origin = first ? x[c * L] : origins[team];
        double sum = 0.0, square = 0.0;
        for (int i = team / C * WIDTH + threadIdx.x % WIDTH; i < size && busy;) {
            T some = T(0), squares = T(0);
            for (int j = 0; j < 16 && i < size; ++j, i += Shape::PARTS * WIDTH) {
                const T deviation = x[(i / L * C + c) * L + i % L] - origin;
                some += deviation;
                squares += deviation * deviation;
            }
            sum += some;
            square += squares;
        }
        sum = lanes_sum<WIDTH>(sum);
        square = lanes_sum<WIDTH>(square);
        if (busy && threadIdx.x % WIDTH == 0) {
            if (first) origins[team] = origin;
            sums[team].first += sum;
            sums[team].second += square;
        }
    }
    copy<THREADS>(x, saved, count * C * L);
}

template <int THREADS, class Shape>
__device__ void write_statistics(const T* origins, const Two* sums, int images, Two* row)
{
    const double n = (double)images * Shape::L;
    for (int c = threadIdx.x; c < Shape::C; c += THREADS) {
        double sum = 0.0, square = 0.0;
        for (int part = 0; part < Shape::PARTS; ++part) {
            sum += sums[part * Shape::C + c].first;
            square += sums[part * Shape::C + c].second;
        }
        row[c] = {origins[c] + sum / n, square - sum * sum / n};
    }
}

// Leave mean and biased variance of the batch in joined[0 ... C - 1]; joined has ROWS * C places.
template <int THREADS, int I, class Shape>
__device__ void join_statistics(const Two* __restrict__ rows, int blocks, int images, Two* joined)
{
    constexpr int C = Shape::C;
    for (int task = threadIdx.x; task < Shape::ROWS * C; task += THREADS) {
        const int c = task % C;
        const double origin = rows[c].first;
        double sum = 0.0, square = 0.0;
#pragma unroll 4
        for (int block = task / C; block < blocks; block += Shape::ROWS) {
            const Two own = rows[(long long)block * C + c];
            const double n = (double)images_of<I>(block, blocks, images) * Shape::L, deviation = own.first - origin;
            sum += n * deviation;
            square += own.second + n * deviation * deviation;
        }
        joined[task] = {sum, square};
    }
    __syncthreads();
    const double M = (double)images * Shape::L;
    for (int c = threadIdx.x; c < C; c += THREADS) {
        double sum = 0.0, square = 0.0;
        for (int r = 0; r < Shape::ROWS; ++r) {
            sum += joined[r * C + c].first;
            square += joined[r * C + c].second;
        }
        joined[c] = {rows[c].first + sum / M, max(0.0, (square - sum * sum / M) / M)};
    }
    __syncthreads();
}

// By block 0 alone: leave mean and variance for the backward, track the running statistics, count the batch.
template <int THREADS, class Shape>
__device__ void track_statistics(const Two* joined, int images, bool average_all, double momentum, Two* statistics,
                                 T* running_mean, T* running_var, long long* num_batches_tracked)
{
    const double M = (double)images * Shape::L, batches = double(*num_batches_tracked + 1);
    const double fraction = average_all ? 1.0 / batches : momentum;
    for (int c = threadIdx.x; c < Shape::C; c += THREADS) {
        statistics[c] = joined[c];
        running_mean[c] = T(running_mean[c] + fraction * (joined[c].first - running_mean[c]));
        running_var[c] = T(running_var[c] + fraction * (joined[c].second * (M / (M - 1.0)) - running_var[c]));
    }
    __syncthreads();
    if (threadIdx.x == 0) *num_batches_tracked += 1;
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

// ---------------------------------------------------------------- forward

template <int THREADS, class Shape, class Activation>
__device__ void norm_forward(Activation act, const T* x, const NormValues* values, T* y, int count)
{
    constexpr int C = Shape::C, H = Shape::H, W = Shape::W, OH = Shape::OH, OW = Shape::OW;
    for (int i = threadIdx.x; i < count * C * OH * OW; i += THREADS) {
        const int plane = i / (OH * OW), h = i / OW % OH * Shape::PH, w = i % OW * Shape::PW;
        const NormValues& v = values[plane % C];
        T sum = T(0);
#pragma unroll
        for (int e = 0; e < Shape::PH * Shape::PW; ++e)
            sum += act(normalised(v, x[(plane * H + h + e / Shape::PW) * W + w + e % Shape::PW]));
        y[i] = Shape::PH * Shape::PW == 1 ? sum : sum / T(Shape::PH * Shape::PW);
    }
}

// ---------------------------------------------------------------- backward

// Return d of a pixel: number i of (I, C, H, W), whose x is given.
template <class Shape, class Activation>
__device__ __forceinline__ T gradient_at(Activation act, const NormValues& v, T x, const T* dy, int i)
{
    constexpr int H = Shape::H, W = Shape::W, OH = Shape::OH, OW = Shape::OW;
    const int oh = i / W % H / Shape::PH, ow = i % W / Shape::PW;
    if (oh >= OH || ow >= OW) return T(0);
    const T p = normalised(v, x), d = dy[(i / (H * W) * OH + oh) * OW + ow];
    return (Shape::PH * Shape::PW == 1 ? d : d / T(Shape::PH * Shape::PW)) * act.slope(p, act(p));
}

template <int THREADS, class Shape, class Activation>
__device__ void norm_gradient_sums(Activation act, const T* x, const T* dy, const NormValues* values, Two* sums,
                                   int count)
{
    constexpr int C = Shape::C, L = Shape::L, WIDTH = Shape::WIDTH, TEAMS = C * Shape::PARTS;
    const int size = count * L;
    for (int begin = 0; begin < TEAMS; begin += THREADS / WIDTH) {
        const int team = begin + threadIdx.x / WIDTH, c = team % C;
        const bool busy = team < TEAMS;
        double sum = 0.0, product = 0.0;
        for (int i = team / C * WIDTH + threadIdx.x % WIDTH; i < size && busy;) {
            T some = T(0), products = T(0);
#pragma unroll 4
            for (int j = 0; j < 16 && i < size; ++j, i += Shape::PARTS * WIDTH) {
                const int at = (i / L * C + c) * L + i % L;
                const T value = x[at], d = gradient_at<Shape>(act, values[c], value, dy, at);
                some += d;
                products += d * (value - values[c].center);
            }
            sum += some;
            product += products;
        }
        sum = lanes_sum<WIDTH>(sum);
        product = lanes_sum<WIDTH>(product);
        if (busy && threadIdx.x % WIDTH == 0) {
            sums[team].first += sum;
            sums[team].second += product * values[c].inverse_std;
        }
    }
}

template <int THREADS, class Shape>
__device__ void write_gradient_sums(const Two* sums, Two* row)
{
    for (int c = threadIdx.x; c < Shape::C; c += THREADS) {
        Two total = {0.0, 0.0};
        for (int part = 0; part < Shape::PARTS; ++part) {
            total.first += sums[part * Shape::C + c].first;
            total.second += sums[part * Shape::C + c].second;
        }
        row[c] = total;
    }
}

// Leave dbias and dweight in joined[0 ... C - 1]; joined has ROWS * C places.
template <int THREADS, class Shape>
__device__ void join_gradients(const Two* __restrict__ rows, int blocks, Two* joined)
{
    constexpr int C = Shape::C;
    for (int task = threadIdx.x; task < Shape::ROWS * C; task += THREADS) {
        Two sum = {0.0, 0.0};
#pragma unroll 4
        for (int block = task / C; block < blocks; block += Shape::ROWS) {
            const Two own = rows[(long long)block * C + task % C];
            sum.first += own.first;
            sum.second += own.second;
        }
        joined[task] = sum;
    }
    __syncthreads();
    for (int c = threadIdx.x; c < C; c += THREADS) {
        Two total = {0.0, 0.0};
        for (int r = 0; r < Shape::ROWS; ++r) {
            total.first += joined[r * C + c].first;
            total.second += joined[r * C + c].second;
        }
        joined[c] = total;
    }
    __syncthreads();
}

template <int THREADS, int C>
__device__ void write_norm_gradients(const Two* joined, T* dweight, T* dbias)
{
    for (int c = threadIdx.x; c < C; c += THREADS) {
        dbias[c] = T(joined[c].first);
        dweight[c] = T(joined[c].second);
    }
}

template <int THREADS, class Shape>
__device__ void norm_slopes(const Two* joined, int images, const T* weight, const NormValues* values,
                            NormSlopes* slopes)
{
    const double M = (double)images * Shape::L;
    for (int c = threadIdx.x; c < Shape::C; c += THREADS) {
        const double inverse_std = values[c].inverse_std, factor = weight[c] * inverse_std;
        slopes[c] = {T(factor * inverse_std * joined[c].second / M), T(factor * joined[c].first / M)};
    }
}

// slopes is null in inference.
template <int THREADS, class Shape, class Activation>
__device__ void norm_backward(Activation act, const T* x, const T* dy, const NormValues* values,
                              const NormSlopes* slopes, T* dx, int count)
{
    for (int i = threadIdx.x; i < count * Shape::C * Shape::L; i += THREADS) {
        const int c = i / Shape::L % Shape::C;
        const T value = x[i];
        T result = gradient_at<Shape>(act, values[c], value, dy, i) * values[c].scale;
        if (slopes) result = result - slopes[c].slope * (value - values[c].center) - slopes[c].shift;
        dx[i] = result;
    }
}
