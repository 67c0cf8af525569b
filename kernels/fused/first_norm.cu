// Batch norm behind the first convolution, whose sums over the batch follow from the images alone.
//
// With mean m (K) and covariance V (K, K) of the pixels of a window (window_moments.cu), weights w (K) of a filter
// and y = w . x for each of the M windows, forward needs
//
//   mean of y = w . m        var of y = w^T V w
//
// and backward, with d the gradient of the normalised output as in norm_gradient.cu, and two sums of each block,
// A = sum of d x (what conv_gradient makes of d) and S = sum of d:
//
//   dbias = S      dweight = sum of d * xhat = inverse_std * w . (A - S m)
//   dw = sum of dy x, dy = scale * (d - S / M - xhat * dweight / M)
//      = scale * (A - S m - dweight * inverse_std * V w)        because sum of xhat x = M * inverse_std * V w
//
// So there is no barrier between the convolution and its batch norm, forward or backward. For d, backward needs
// y again (norm_backward), or of a ReLU only where it let y pass: a bit per pixel, a byte per cell of at most eight.
//
//   moments (K + K * K): m and V   weight (F, K)   joined, statistics (F)   products (blocks, F, K)   sums (blocks, F)
//   passed (I, F, OH, OW) bytes, of the cells with a window
//   Shape   C, KH, KW with K = C * KH * KW; F. Norm   as Shape in norm.cu
//
// Threads of window_statistics: a warp per filter, a lane per pixel of the window, which reads a column of V
// (coalesced). Of the way back: one per cell (cells.cu). Of first_norm_gradients: a job for each filter
// beside the next launch, in which nothing reads these parameters: groups of K + 1 neighbouring threads share
// out the blocks' rows, then a thread per pixel of the window.
// NumPy twins: batch_norm_sums, batch_norm_gradient_sums in nplenet/layers/batchnorm.py, add_weight_gradient in
// nplenet/layers/conv.py.

// Leave mean and biased variance of the convolution's output in joined[0 ... F - 1]. Then the block waits.
template <int THREADS, class Shape>
__device__ void window_statistics(const double* __restrict__ moments, const T* __restrict__ weight, Two* joined)
{
    constexpr int K = Shape::C * Shape::KH * Shape::KW, F = Shape::F, AHEAD = K < 32 ? K : 32;
    const int lane = threadIdx.x % 32;
    for (int f = threadIdx.x / 32; f < F; f += THREADS / 32) {
        const T* w = weight + f * K;
        double mean = 0.0, var = 0.0;
        for (int k = lane; k < K; k += 32) {
            const double own = w[k], at = moments[k];
            double column = 0.0;
#pragma unroll AHEAD  // all loads of a 5x5 window are on their way together
            for (int j = 0; j < K; ++j) column += w[j] * moments[K + j * K + k];
            mean += own * at;
            var += own * column;
        }
        mean = lanes_sum<32>(mean);
        var = lanes_sum<32>(var);
        if (lane == 0) joined[f] = {mean, var < 0.0 ? 0.0 : var};  // NaN stays, which max would drop
    }
    __syncthreads();
}

// The way back of norm_forward with ReLU, from what it has noted: leave d for each pixel.
template <int THREADS, int I, class Norm>
__device__ void first_norm_relu_backward(const unsigned char* passed, const T* dy, T* d, int count)
{
    constexpr int C = Norm::C, OH = Norm::OH, OW = Norm::OW, CH = Norm::CH, CW = Norm::CW;
    constexpr int PH = Norm::PH, PW = Norm::PW, MOST = (I * C * CH * CW + THREADS - 1) / THREADS;
    static_assert(PH * PW <= 8, "a bit for each pixel");
    each_of<THREADS, MOST < 8 ? MOST : 8>(
        count * C * CH * CW,
        [=](int i) -> unsigned {
            const int h = i / CW % CH, w = i % CW;
            return is_whole<Norm>(h, w) ? passed[(i / (CH * CW) * OH + h) * OW + w] : 0;
        },
        [=](int i, unsigned bits) {
            const int plane = i / (CH * CW), h = i / CW % CH, w = i % CW;
            const T each = is_whole<Norm>(h, w) ? dy[(plane * OH + h) * OW + w] / T(PH * PW) : T(0);
            T results[PH][PW];
#pragma unroll
            for (int e = 0; e < PH * PW; ++e) results[e / PW][e % PW] = each * T(bits >> e & 1);
            store_cell<Norm>(results, d, plane, h, w);
        });
}

// scratch (THREADS + K), shared.
template <int THREADS, class Shape, class OutFilter, class OutWeight, class OutBias>
__device__ void first_norm_gradients(int f, const T* __restrict__ products, const T* __restrict__ sums, int blocks,
                                     const double* __restrict__ moments, const T* weight, const T* norm_weight,
                                     const Two* statistics, double eps, OutFilter out_filter, OutWeight out_weight,
                                     OutBias out_bias, double* scratch)
{
    constexpr int K = Shape::C * Shape::KH * Shape::KW, F = Shape::F, EACH = K + 1, GROUPS = THREADS / EACH;
    static_assert(GROUPS > 0, "a thread for each pixel of a window, and one more");
    const int k = threadIdx.x % EACH, group = threadIdx.x / EACH;
    double sum = 0.0;
    if (group < GROUPS) {
#pragma unroll 8
        for (int r = group; r < blocks; r += GROUPS)
            sum += k < K ? products[((long long)r * F + f) * K + k] : sums[(long long)r * F + f];
    }
    scratch[threadIdx.x] = sum;
    __syncthreads();
    if (group == 0) {
        for (int g = 1; g < GROUPS; ++g) sum += scratch[g * EACH + k];
        scratch[k] = sum;  // its own: no other thread of the group reads it here
    }
    __syncthreads();
    const double S = scratch[K], inverse_std = 1.0 / sqrt(statistics[f].second + eps);
    const double scale = norm_weight[f] * inverse_std;
    const T* w = weight + f * K;
    double* centered = scratch + THREADS;
    double column = 0.0, dweight = 0.0;
    if (threadIdx.x < K) {
        centered[k] = sum - S * moments[k];
        for (int j = 0; j < K; ++j) column += w[j] * moments[K + j * K + k];
    }
    __syncthreads();
    if (threadIdx.x < K)
        for (int j = 0; j < K; ++j) dweight += w[j] * centered[j];
    dweight *= inverse_std;
    __syncthreads();  // all have read the weights, which change now
    if (threadIdx.x < K) out_filter(f * K + k, T(scale * (centered[k] - dweight * inverse_std * column)));
    if (threadIdx.x == 0) {
        out_weight(f, T(dweight));
        out_bias(f, T(S));
    }
}
