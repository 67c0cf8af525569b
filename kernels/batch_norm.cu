// Batch normalisation of each channel, forward (training, inference) and backward.
//
//   mean = sum(x) / M      var = sum((x - mean)^2) / M      inverse_std = 1 / sqrt(var + eps)
//   centered = x - mean    y = weight * inverse_std * centered + bias
//
//   dbias += sum(dy)       dweight += sum(dy * xhat)        with xhat = centered * inverse_std
//   dx = weight * inverse_std * (dy - sum(dy) / M - xhat * sum(dy * xhat) / M)
//   in inference mean and var are constants, and dx = weight * inverse_std * dy
//
//   x, y, centered, dy, dx                      (N, C, L), M = N * L numbers a channel
//   weight, bias, running_*, dweight, dbias     (C,)
//   inverse_std                                 (C,) float64
//   partial                                     (C, splits, 2) float64
//
// Threads: a channel's M numbers are cut into `splits` even parts, one a block: block c*splits + s takes
// part s of channel c. Training and backward take two launches: the first leaves two sums a block in
// partial, in the second each block adds up its channel's (in the same order, so all agree on every
// bit) and writes its part of the result. Sums are trees in shared memory, in float64: a fixed order, no
// atomics, and no loss of the deviation beside a large mean. Neighbouring threads take neighbouring l:
// coalesced, but for L = 1, where they read C numbers apart. blockDim.x is 256.
// NumPy twins: batch_norm_training, batch_norm_inference, batch_norm_backward in
// nplenet/layers/batchnorm.py.

struct Sums {
    double first, second;
};

// Return the sums over the block's threads, to all of them; only the first `count` bring a number
// that is not zero. May be called once in a kernel.
__device__ Sums block_sums(double first, double second, int count)
{
    __shared__ double firsts[256], seconds[256];
    const int t = threadIdx.x;
    firsts[t] = first;
    seconds[t] = second;
    __syncthreads();
    int half = 1;
    while (half < count && half < blockDim.x) half *= 2;
    for (half /= 2; half > 0; half /= 2) {
        if (t < half) {
            firsts[t] += firsts[t + half];
            seconds[t] += seconds[t + half];
        }
        __syncthreads();
    }
    return {firsts[0], seconds[0]};
}

// Return sum((x - mean)^2) of m numbers from the sums of x - shift and of (x - shift)^2. With one of
// the numbers (or the mean of a part) for shift, the second is at most m times the result: cancellation
// costs log2(m) of the 53 bits, however far the mean lies from 0, and numbers that are equal give 0.
__device__ __forceinline__ double squared_deviations(Sums shifted, int m)
{
    const double squares = shifted.second - shifted.first * shifted.first / m;
    return squares < 0.0 ? 0.0 : squares;
}

// Return where part `split` of a channel's M numbers begins; that of the next part is its end.
__device__ __forceinline__ unsigned int part_begin(int split, int M, int splits)
{
    return (unsigned int)((long long)M * split / splits);
}

// Return the place in (N, C, L) of number m of channel c.
__device__ __forceinline__ long long place(unsigned int m, int c, int C, int L)
{
    return ((long long)(m / L) * C + c) * L + m % L;
}

// First launch of training: mean and sum of squared deviations of each part.
template <typename T>
__global__ void batch_norm_moments(const T* __restrict__ x, double* __restrict__ partial,
                                   long long* __restrict__ num_batches_tracked, int C, int L, int M, int splits)
{
    const int c = blockIdx.x / splits, split = blockIdx.x % splits;
    const unsigned int begin = part_begin(split, M, splits), end = part_begin(split + 1, M, splits);
    const double shift = x[place(begin, c, C, L)];
    double sum = 0.0, squares = 0.0;
    for (unsigned int m = begin + threadIdx.x; m < end; m += blockDim.x) {
        const double value = (double)x[place(m, c, C, L)] - shift;
        sum += value;
        squares += value * value;
    }
    const Sums sums = block_sums(sum, squares, end - begin);
    if (threadIdx.x != 0) return;
    partial[2 * blockIdx.x] = shift + sums.first / (end - begin);
    partial[2 * blockIdx.x + 1] = squared_deviations(sums, end - begin);
    if (blockIdx.x == 0) *num_batches_tracked += 1;  // here, because the second launch reads it
}

// Second launch of training. The parts, of m_s numbers each, are joined by Chan, Golub & LeVeque (1979):
// mean = sum(m_s mean_s) / M, squares = sum(squares_s + m_s (mean_s - mean)^2).
template <typename T>
__global__ void batch_norm_training(const T* __restrict__ x, const double* __restrict__ partial,
                                    const T* __restrict__ weight, const T* __restrict__ bias,
                                    T* __restrict__ running_mean, T* __restrict__ running_var,
                                    const long long* __restrict__ num_batches_tracked, T* __restrict__ y,
                                    T* __restrict__ centered, double* __restrict__ inverse_std, double momentum,
                                    int average_all, double eps, int C, int L, int M, int splits)
{
    const int c = blockIdx.x / splits, split = blockIdx.x % splits;
    const double* parts = partial + 2ll * c * splits;
    const double first_mean = parts[0];
    double sum = 0.0, joined = 0.0;
    for (int s = threadIdx.x; s < splits; s += blockDim.x) {
        const double m_s = part_begin(s + 1, M, splits) - part_begin(s, M, splits);
        const double distance = parts[2 * s] - first_mean;
        sum += m_s * distance;
        joined += parts[2 * s + 1] + m_s * distance * distance;
    }
    const Sums sums = block_sums(sum, joined, splits);
    const double mean = first_mean + sums.first / M, squares = squared_deviations(sums, M);
    const double inverse = 1.0 / sqrt(squares / M + eps);
    if (split == 0 && threadIdx.x == 0) {
        const double share = average_all ? 1.0 / *num_batches_tracked : momentum;
        inverse_std[c] = inverse;
        running_mean[c] = T(running_mean[c] + share * (mean - running_mean[c]));
        running_var[c] = T(running_var[c] + share * (squares / (M - 1) - running_var[c]));
    }
    const T center = T(mean), scale = T(weight[c] * inverse), shift = bias[c];
    const unsigned int end = part_begin(split + 1, M, splits);
    for (unsigned int m = part_begin(split, M, splits) + threadIdx.x; m < end; m += blockDim.x) {
        const long long i = place(m, c, C, L);
        const T value = x[i] - center;
        centered[i] = value;
        y[i] = value * scale + shift;
    }
}

template <typename T>
__global__ void batch_norm_inference(const T* __restrict__ x, const T* __restrict__ weight,
                                     const T* __restrict__ bias, const T* __restrict__ running_mean,
                                     const T* __restrict__ running_var, T* __restrict__ y, T* __restrict__ centered,
                                     double* __restrict__ inverse_std, double eps, int C, int L, int M, int splits)
{
    const int c = blockIdx.x / splits, split = blockIdx.x % splits;
    const double inverse = 1.0 / sqrt((double)running_var[c] + eps);
    if (split == 0 && threadIdx.x == 0) inverse_std[c] = inverse;
    const T center = running_mean[c], scale = T(weight[c] * inverse), shift = bias[c];
    const unsigned int end = part_begin(split + 1, M, splits);
    for (unsigned int m = part_begin(split, M, splits) + threadIdx.x; m < end; m += blockDim.x) {
        const long long i = place(m, c, C, L);
        const T value = x[i] - center;
        centered[i] = value;
        y[i] = value * scale + shift;
    }
}

// First launch of backward: sum(dy) and sum(dy * centered) of each part.
template <typename T>
__global__ void batch_norm_products(const T* __restrict__ dy, const T* __restrict__ centered,
                                    double* __restrict__ partial, int C, int L, int M, int splits)
{
    const int c = blockIdx.x / splits, split = blockIdx.x % splits;
    const unsigned int begin = part_begin(split, M, splits), end = part_begin(split + 1, M, splits);
    double sum = 0.0, product = 0.0;
    for (unsigned int m = begin + threadIdx.x; m < end; m += blockDim.x) {
        const long long i = place(m, c, C, L);
        sum += (double)dy[i];
        product += (double)dy[i] * (double)centered[i];
    }
    const Sums sums = block_sums(sum, product, end - begin);
    if (threadIdx.x != 0) return;
    partial[2 * blockIdx.x] = sums.first;
    partial[2 * blockIdx.x + 1] = sums.second;
}

// Second launch of backward.
template <typename T>
__global__ void batch_norm_backward(const T* __restrict__ dy, const T* __restrict__ centered,
                                    const double* __restrict__ partial, const double* __restrict__ inverse_std,
                                    const T* __restrict__ weight, T* __restrict__ dweight, T* __restrict__ dbias,
                                    T* __restrict__ dx, int batch_statistics, int C, int L, int M, int splits)
{
    const int c = blockIdx.x / splits, split = blockIdx.x % splits;
    const double* parts = partial + 2ll * c * splits;
    double sum = 0.0, product = 0.0;
    for (int s = threadIdx.x; s < splits; s += blockDim.x) {
        sum += parts[2 * s];
        product += parts[2 * s + 1];
    }
    const Sums sums = block_sums(sum, product, splits);
    const double sum_dy = sums.first, sum_dy_xhat = inverse_std[c] * sums.second;
    if (split == 0 && threadIdx.x == 0) {
        dbias[c] = T(dbias[c] + sum_dy);
        dweight[c] = T(dweight[c] + sum_dy_xhat);
    }
    const double factor = weight[c] * inverse_std[c];
    const T scale = T(factor);
    const T slope = batch_statistics ? T(factor * inverse_std[c] * sum_dy_xhat / M) : T(0);
    const T shift = batch_statistics ? T(factor * sum_dy / M) : T(0);
    const unsigned int end = part_begin(split + 1, M, splits);
    for (unsigned int m = part_begin(split, M, splits) + threadIdx.x; m < end; m += blockDim.x) {
        const long long i = place(m, c, C, L);
        dx[i] = dy[i] * scale - slope * centered[i] - shift;
    }
}
