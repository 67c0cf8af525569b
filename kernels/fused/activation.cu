// The nonlinearities, each with its slope; and alone, forward and backward.
//
//   y = act(x)      dx = dy * act'(x), from x and y
//
//   x, y, dy, dx (I * SIZE), dx may be dy, y may be x where `slope` does not read x
//
// Threads: one per element; neighbouring threads have neighbouring elements.
// NumPy twins: leaky_relu, sigmoid, relu_backward, leaky_relu_backward, sigmoid_backward, tanh_backward in
// nplenet/layers/activation.py.

struct Identity {
    __device__ T operator()(T x) const { return x; }
    __device__ T slope(T, T) const { return T(1); }
};

struct ReLU {
    __device__ T operator()(T x) const { return x < T(0) ? T(0) : x; }  // NaN stays NaN
    __device__ T slope(T, T y) const { return T(!(y <= T(0))); }
};

struct LeakyReLU {
    T negative_slope;
    __device__ T operator()(T x) const { return x > T(0) ? x : negative_slope * x; }
    __device__ T slope(T x, T) const { return x > T(0) ? T(1) : negative_slope; }
};

struct Sigmoid {
    __device__ T operator()(T x) const
    {
        const T e = exp(x < T(0) ? x : -x);  // at most 1
        return (x < T(0) ? e : T(1)) / (T(1) + e);
    }
    __device__ T slope(T, T y) const { return y * (T(1) - y); }
};

struct Tanh {
    __device__ T operator()(T x) const { return tanh(x); }
    __device__ T slope(T, T y) const { return T(1) - y * y; }
};

template <int THREADS, class Activation>
__device__ void activate(Activation act, const T* x, T* y, int size)
{
    for (int i = threadIdx.x; i < size; i += THREADS) y[i] = act(x[i]);
}

template <int THREADS, class Activation>
__device__ void activate_backward(Activation act, const T* x, const T* y, const T* dy, T* dx, int size)
{
    for (int i = threadIdx.x; i < size; i += THREADS) dx[i] = dy[i] * act.slope(x[i], y[i]);
}
