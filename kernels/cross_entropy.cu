// cross_entropy: loss, its gradient and the number of correct predictions, from the logits, in one launch.
//
//   p[n, k]       = exp(z[n, k]) / sum over j of exp(z[n, j])
//   t[n, k]       = on * [k = targets[n]] + uniform    (1 - smoothing and smoothing / K, from the host)
//   loss          = scale * sum over n, k of -t[n, k] * log p[n, k]
//   dlogits[n, k] = scale * (p[n, k] - t[n, k])
//   correct       = number of n whose first largest logit is at targets[n]
//
//   logits, dlogits (N, K), targets (N), loss (1), correct (1)
//   fault (3): number of the forward, sample, label; written once, for the first label outside
//   0 ... K-1, since a kernel can't raise an error. Such a row has NaN for loss and gradient.
//   forward: from the host, or read at forward_there where that is not null: a CUDA graph keeps the
//   arguments with which it was captured
//
// Threads: one block, so that the sums need neither atomics nor a second launch. A thread takes every
// 256th row and reads it three times, from cache after the first; then the block adds up its sums in
// shared memory, in double, always in the same order. Made for some thousand rows of some ten classes.
// NumPy twin: cross_entropy in nplenet/losses.py.

template <typename T>
__global__ void __launch_bounds__(256, 1)
    cross_entropy(const T* __restrict__ logits, const long long* __restrict__ targets,
                  T* __restrict__ dlogits, T* __restrict__ loss, long long* __restrict__ correct,
                  long long* __restrict__ fault, int N, int K, T on, T uniform, double scale,
                  long long forward, const long long* __restrict__ forward_there)
{
    __shared__ double losses[256];
    __shared__ int right[256];
    __shared__ int wrong_label[256];  // first row whose label lies outside, N for none
    const T unit = T(scale);
    const int thread = threadIdx.x;
    double loss_sum = 0.0;
    int correct_count = 0, first_fault = N;
    for (int n = thread; n < N; n += blockDim.x) {
        const T* z = logits + (long long)n * K;
        T* dz = dlogits + (long long)n * K;
        const long long target = targets[n];
        const bool known = target >= 0 && target < K;
        if (!known && first_fault == N) first_fault = n;

        T top = z[0];  // taken off all logits, so that exp does not overflow
        int prediction = 0;
        for (int k = 1; k < K; ++k) {
            if (z[k] > top) {
                top = z[k];
                prediction = k;
            }
        }
        T total = T(0);
        for (int k = 0; k < K; ++k) total += exp(z[k] - top);
        const T log_total = log(total);
        T row = T(0);
        for (int k = 0; k < K; ++k) {
            const T log_p = z[k] - top - log_total;
            const T t = (k == target ? on : T(0)) + uniform;
            if (t != T(0)) row -= t * log_p;  // 0 * -inf is 0 here
            dz[k] = known ? (exp(log_p) - t) * unit : T(nan(""));
        }
        loss_sum += known ? double(row) : nan("");
        correct_count += prediction == target;
    }

    losses[thread] = loss_sum;
    right[thread] = correct_count;
    wrong_label[thread] = first_fault;
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        if (thread < half) {
            losses[thread] += losses[thread + half];
            right[thread] += right[thread + half];
            wrong_label[thread] = min(wrong_label[thread], wrong_label[thread + half]);
        }
    }
    if (thread > 0) return;
    loss[0] = T(losses[0] * scale);
    correct[0] = right[0];
    if (wrong_label[0] < N && fault[0] == 0) {
        fault[0] = forward_there ? forward_there[0] : forward;
        fault[1] = wrong_label[0];
        fault[2] = targets[wrong_label[0]];
    }
}
