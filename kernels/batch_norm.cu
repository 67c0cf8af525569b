// Batch normalisation of each channel, forward (training, inference) and backward.
//
//   mean = sum(x) / M      var = sum((x - mean)^2) / M      inverse_std = 1 / sqrt(var + eps)
//   centered = x - mean    y = weight * inverse_std * centered + bias
//
//   dbias += sum(dy)       dweight += sum(dy * xhat)        with xhat = centered * inverse_std
//   dx = weight * inverse_std * (dy - sum(dy) / M - xhat * sum(dy * xhat) / M)
//   in inference mean and var are constants, and dx = weight * inverse_std * dy
//
//   x, y, centered, dy, dx                      (N, C, L)
//   weight, bias, running_*, dweight, dbias     (C,)
//   inverse_std                                 (C,) float64
//   sums (of x), squares (of x - mean)          (parts, C) float64
//   sums (of dy and dy * xhat), total           (parts, 2, C) float64
//   M                                           numbers per channel on all ranks (m in the twins)
//   here = N * L                                numbers per channel on this rank
//
// Threads: a channel's numbers here are cut into `parts` even parts, one per block: block c*parts + p takes
// part p of channel c. A kernel that sums leaves one sum per block; the next kernel first adds up the sums
// of its channel, in the same order in every block, so that all agree on every bit. Between the two kernels
// the sums of several ranks are added. So training is three launches (sums, center, training), backward two.
// Sums are trees in shared memory, in float64: a fixed order, no atomics, and, as the squares are of
// x - mean, no loss of the deviation beside a large mean. Neighbouring threads take neighbouring l:
// coalesced, except for L = 1, where they read C numbers apart. blockDim.x is 256.
// NumPy twins: batch_norm_sums, batch_norm_center, batch_norm_training, batch_norm_inference,
// batch_norm_gradient_sums, batch_norm_backward in nplenet/layers/batchnorm.py.

struct Sums {
    double first, second;
};

// Return the sums over the block's threads, to all of them; only the first `count` bring a number
// that is not zero.
__device__ Sums block_sums(double first, double second, int count)
{
    __shared__ double firsts[256], seconds[256];
    const int t = threadIdx.x;
    __syncthreads();  // all have read the result of the last call
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

// Return the sums over all parts, to all threads, of two numbers that lie `step` apart from part to part.
__device__ Sums sums_over_parts(const double* first, const double* second, int step, int parts)
{
    double a = 0.0, b = 0.0;
    for (int p = threadIdx.x; p < parts; p += blockDim.x) {
        a += first[(long long)p * step];
        b += second[(long long)p * step];
    }
    return block_sums(a, b, parts);
}

// Return where part p of the `here` numbers of a channel begins; the next part begins at its end.
__device__ __forceinline__ unsigned int part_begin(int p, int here, int parts)
{
    return (unsigned int)((long long)here * p / parts);
}

// Return the place in (N, C, L) of number i of channel c.
__device__ __forceinline__ long long place(unsigned int i, int c, int C, int L)
{
    return ((long long)(i / L) * C + c) * L + i % L;
}

// Training, first launch: the sum of x; the batch is counted.
template <typename T>
__global__ void batch_norm_sums(const T* __restrict__ x, double* __restrict__ sums,
                                long long* __restrict__ num_batches_tracked, int C, int L, int here, int parts)
{
    const int c = blockIdx.x / parts, p = blockIdx.x % parts;
    const unsigned int begin = part_begin(p, here, parts), end = part_begin(p + 1, here, parts);
    double sum = 0.0;
    for (unsigned int i = begin + threadIdx.x; i < end; i += blockDim.x) sum += x[place(i, c, C, L)];
    sum = block_sums(sum, 0.0, end - begin).first;
    if (threadIdx.x != 0) return;
    sums[(long long)p * C + c] = sum;
    if (blockIdx.x == 0) *num_batches_tracked += 1;
}

// Training, second launch: x - mean, and the sum of its squares.
template <typename T>
__global__ void batch_norm_center(const T* __restrict__ x, const double* __restrict__ sums,
                                  T* __restrict__ centered, double* __restrict__ squares, double M, int C, int L,
                                  int here, int parts)
{
    const int c = blockIdx.x / parts, p = blockIdx.x % parts;
    const double mean = sums_over_parts(sums + c, sums + c, C, parts).first / M;
    const T center = T(mean);
    const unsigned int begin = part_begin(p, here, parts), end = part_begin(p + 1, here, parts);
    double square = 0.0;
    for (unsigned int i = begin + threadIdx.x; i < end; i += blockDim.x) {
        const long long at = place(i, c, C, L);
        const double deviation = (double)x[at] - mean;
        square += deviation * deviation;
        centered[at] = x[at] - center;
    }
    square = block_sums(square, 0.0, end - begin).first;
    if (threadIdx.x == 0) squares[(long long)p * C + c] = square;
}

// Training, third launch: y; the statistics are tracked.
template <typename T>
__global__ void batch_norm_training(const T* __restrict__ centered, const double* __restrict__ sums,
                                    const double* __restrict__ squares, const T* __restrict__ weight,
                                    const T* __restrict__ bias, T* __restrict__ running_mean,
                                    T* __restrict__ running_var, const long long* __restrict__ num_batches_tracked,
                                    T* __restrict__ y, double* __restrict__ inverse_std, double M, double momentum,
                                    int average_all, double eps, int C, int L, int here, int parts)
{
    const int c = blockIdx.x / parts, p = blockIdx.x % parts;
    const Sums all = sums_over_parts(sums + c, squares + c, C, parts);
    const double inverse = 1.0 / sqrt(all.second / M + eps);
    if (p == 0 && threadIdx.x == 0) {
        const double fraction = average_all ? 1.0 / *num_batches_tracked : momentum;
        inverse_std[c] = inverse;
        running_mean[c] = T(running_mean[c] + fraction * (all.first / M - running_mean[c]));
        running_var[c] = T(running_var[c] + fraction * (all.second / (M - 1) - running_var[c]));
    }
    const T scale = T(weight[c] * inverse), shift = bias[c];
    const unsigned int end = part_begin(p + 1, here, parts);
    for (unsigned int i = part_begin(p, here, parts) + threadIdx.x; i < end; i += blockDim.x) {
        const long long at = place(i, c, C, L);
        y[at] = centered[at] * scale + shift;
    }
}

template <typename T>
__global__ void batch_norm_inference(const T* __restrict__ x, const T* __restrict__ weight,
                                     const T* __restrict__ bias, const T* __restrict__ running_mean,
                                     const T* __restrict__ running_var, T* __restrict__ y, T* __restrict__ centered,
                                     double* __restrict__ inverse_std, double eps, int C, int L, int here,
                                     int parts)
{
    const int c = blockIdx.x / parts, p = blockIdx.x % parts;
    const double inverse = 1.0 / sqrt((double)running_var[c] + eps);
    if (p == 0 && threadIdx.x == 0) inverse_std[c] = inverse;
    const T center = running_mean[c], scale = T(weight[c] * inverse), shift = bias[c];
    const unsigned int end = part_begin(p + 1, here, parts);
    for (unsigned int i = part_begin(p, here, parts) + threadIdx.x; i < end; i += blockDim.x) {
        const long long at = place(i, c, C, L);
        const T value = x[at] - center;
        centered[at] = value;
        y[at] = value * scale + shift;
    }
}

// Backward, first launch: sum(dy) and sum(dy * xhat).
template <typename T>
__global__ void batch_norm_gradient_sums(const T* __restrict__ dy, const T* __restrict__ centered,
                                         const double* __restrict__ inverse_std, double* __restrict__ sums, int C,
                                         int L, int here, int parts)
{
    const int c = blockIdx.x / parts, p = blockIdx.x % parts;
    const unsigned int begin = part_begin(p, here, parts), end = part_begin(p + 1, here, parts);
    double sum = 0.0, product = 0.0;
    for (unsigned int i = begin + threadIdx.x; i < end; i += blockDim.x) {
        const long long at = place(i, c, C, L);
        sum += (double)dy[at];
        product += (double)dy[at] * (double)centered[at];
    }
    const Sums found = block_sums(sum, product, end - begin);
    if (threadIdx.x != 0) return;
    sums[2ll * p * C + c] = found.first;
    sums[(2ll * p + 1) * C + c] = found.second * inverse_std[c];
}

// Backward, second launch: dx from the sums of all ranks, `total` (null in inference); dweight and dbias
// get the sums of this rank.
template <typename T>
__global__ void batch_norm_backward(const T* __restrict__ dy, const T* __restrict__ centered,
                                    const double* __restrict__ inverse_std, const T* __restrict__ weight,
                                    const double* sums, const double* total, T* __restrict__ dweight,
                                    T* __restrict__ dbias, T* __restrict__ dx, double M, int C, int L, int here,
                                    int parts)
{
    const int c = blockIdx.x / parts, p = blockIdx.x % parts;
    if (p == 0) {
        const Sums own = sums_over_parts(sums + c, sums + C + c, 2 * C, parts);
        if (threadIdx.x == 0) {
            dbias[c] = T(dbias[c] + own.first);
            dweight[c] = T(dweight[c] + own.second);
        }
    }
    const double factor = weight[c] * inverse_std[c];
    const T scale = T(factor);
    T slope = T(0), shift = T(0);
    if (total) {
        const Sums all = sums_over_parts(total + c, total + C + c, 2 * C, parts);
        slope = T(factor * inverse_std[c] * all.second / M);
        shift = T(factor * all.first / M);
    }
    const unsigned int end = part_begin(p + 1, here, parts);
    for (unsigned int i = part_begin(p, here, parts) + threadIdx.x; i < end; i += blockDim.x) {
        const long long at = place(i, c, C, L);
        dx[at] = dy[at] * scale - slope * centered[at] - shift;
    }
}
