// The element-wise nonlinearities that take more than one pass as plain array functions.
//
//   relu_backward         dx = 0 where y <= 0, else dy: also where y is NaN
//   leaky_relu            y  = x where x > 0, else slope * x
//   leaky_relu_backward   dx = dy where x > 0, else slope * dy
//   sigmoid               y  = exp(min(x, 0)) / (1 + exp(-|x|)), which is 1 / (1 + exp(-x)); exp overflows nowhere
//   sigmoid_backward      dx = dy * y * (1 - y)
//   tanh_backward         dx = dy * (1 - y^2)
//
//   all arrays  (size,)
//
// Threads: one per element, in a grid-stride loop; reads and writes are coalesced, each number is moved
// once.
// NumPy twins: the functions of the same names in nplenet/layers/activation.py.

template <typename T>
__global__ void relu_backward(const T* __restrict__ dy, const T* __restrict__ y, T* __restrict__ dx, long long size)
{
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += step)
        dx[i] = y[i] <= T(0) ? T(0) : dy[i];
}

template <typename T>
__global__ void leaky_relu(const T* __restrict__ x, T slope, T* __restrict__ y, long long size)
{
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += step)
        y[i] = x[i] > T(0) ? x[i] : slope * x[i];
}

template <typename T>
__global__ void leaky_relu_backward(const T* __restrict__ dy, const T* __restrict__ x, T slope,
                                    T* __restrict__ dx, long long size)
{
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += step)
        dx[i] = x[i] > T(0) ? dy[i] : slope * dy[i];
}

template <typename T>
__global__ void sigmoid(const T* __restrict__ x, T* __restrict__ y, long long size)
{
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += step) {
        const T e = exp(x[i] < T(0) ? x[i] : -x[i]);  // at most 1
        y[i] = (x[i] < T(0) ? e : T(1)) / (T(1) + e);
    }
}

template <typename T>
__global__ void sigmoid_backward(const T* __restrict__ dy, const T* __restrict__ y, T* __restrict__ dx, long long size)
{
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += step)
        dx[i] = dy[i] * y[i] * (T(1) - y[i]);
}

template <typename T>
__global__ void tanh_backward(const T* __restrict__ dy, const T* __restrict__ y, T* __restrict__ dx, long long size)
{
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += step)
        dx[i] = dy[i] * (T(1) - y[i] * y[i]);
}
