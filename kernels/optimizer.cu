// sgd, adam: one step of an optimizer for all parameters, which lie side by side in flat arrays.
//
// sgd    g = g + weight_decay * p
//        m = momentum * m + gain * g                     (momentum 0: m is not touched)
//        p = p - lr * m                                  (Nesterov: p - lr * (g + momentum * m))
//
// adam   p = p * shrink                                  (AdamW: 1 - lr * weight_decay; Adam: 1)
//        g = g + weight_decay * p                        (AdamW: 0)
//        m = m + (1 - beta1) * (g - m)
//        v = beta2 * v + (1 - beta2) * g^2
//        p = p - rate * m / (sqrt(v) + eps)              (rate, eps: with the bias corrections)
//
//   p, g, m, v  (n); g is read only
//
//   numbers: null, or the numbers of this step, in the order of the arguments that they replace: a CUDA
//   graph keeps the arguments with which it was captured
//
// Threads: one per element, in a grid-stride loop; neighbouring threads touch neighbouring numbers. Each
// number is read once and written once. The numbers that depend on the step come from the host, where
// they are computed in double.
// NumPy twins: sgd in nplenet/optim/sgd.py and adam in nplenet/optim/adam.py.

template <typename T>
__global__ void sgd(T* __restrict__ p, const T* __restrict__ g, T* __restrict__ m, long long n, T lr,
                    T momentum, T gain, T weight_decay, int nesterov, const double* __restrict__ numbers)
{
    if (numbers) {
        lr = T(numbers[0]);
        momentum = T(numbers[1]);
        gain = T(numbers[2]);
        weight_decay = T(numbers[3]);
        nesterov = numbers[4] != 0.0;
    }
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        T change = g[i] + weight_decay * p[i];
        if (momentum != T(0)) {
            const T buffer = momentum * m[i] + gain * change;
            m[i] = buffer;
            change = nesterov ? change + momentum * buffer : buffer;
        }
        p[i] -= lr * change;
    }
}

template <typename T>
__global__ void adam(T* __restrict__ p, const T* __restrict__ g, T* __restrict__ m, T* __restrict__ v,
                     long long n, T rate, double beta1, double beta2, T eps, T weight_decay, T shrink,
                     const double* __restrict__ numbers)
{
    if (numbers) {
        rate = T(numbers[0]);
        beta1 = numbers[1];
        beta2 = numbers[2];
        eps = T(numbers[3]);
        weight_decay = T(numbers[4]);
        shrink = T(numbers[5]);
    }
    const T decay2 = T(beta2), gain1 = T(1.0 - beta1), gain2 = T(1.0 - beta2);
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        const T weight = p[i] * shrink;
        const T slope = g[i] + weight_decay * weight;
        const T mean = m[i] + gain1 * (slope - m[i]);
        const T square = decay2 * v[i] + gain2 * (slope * slope);
        m[i] = mean;
        v[i] = square;
        p[i] = weight - rate * (mean / (sqrt(square) + eps));
    }
}
