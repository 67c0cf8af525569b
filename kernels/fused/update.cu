// What becomes of a number of a gradient: it is kept, and where the step has an optimizer, updates its parameter.
//
//   Kept   g[e] = value
//   Sgd    g[e] = value, then the update of sgd in kernels/optimizer.cu for number e
//   Adam   g[e] = value, then the update of adam there
//
//   g, p, m, v  gradient, parameter and its moments; numbers: of the update in this step, in the order of
//   nplenet.optim, float64
//
// A job (see sums.cu, dense_gradient.cu) calls it as out(e, value) as soon as the number is complete. Jobs run
// beside a pass that does not read these parameters, so every read of a weight gets the value of its own step.
//
// Threads: one per number. Global memory: p, m and v are read and written once, neighbouring threads have
// neighbouring numbers.
// NumPy twins: sgd in nplenet/optim/sgd.py and adam in nplenet/optim/adam.py.

struct Kept {
    T* g;
    __device__ void operator()(int e, T value) const { g[e] = value; }
};

struct Sgd {
    T *g, *p, *m;
    T lr, momentum, gain, weight_decay;
    bool nesterov;

    __device__ Sgd(T* g, T* p, T* m, const double* numbers)
        : g(g), p(p), m(m), lr(T(numbers[0])), momentum(T(numbers[1])), gain(T(numbers[2])),
          weight_decay(T(numbers[3])), nesterov(numbers[4] != 0.0)
    {
    }

    __device__ void operator()(int e, T value) const
    {
        g[e] = value;
        T change = value + weight_decay * p[e];
        if (momentum != T(0)) {
            const T buffer = momentum * m[e] + gain * change;
            m[e] = buffer;
            change = nesterov ? change + momentum * buffer : buffer;
        }
        p[e] -= lr * change;
    }
};

struct Adam {
    T *g, *p, *m, *v;
    T rate, gain1, decay2, gain2, eps, weight_decay, shrink;

    __device__ Adam(T* g, T* p, T* m, T* v, const double* numbers)
        : g(g), p(p), m(m), v(v), rate(T(numbers[0])), gain1(T(1.0 - numbers[1])), decay2(T(numbers[2])),
          gain2(T(1.0 - numbers[2])), eps(T(numbers[3])), weight_decay(T(numbers[4])), shrink(T(numbers[5]))
    {
    }

    __device__ void operator()(int e, T value) const
    {
        const T weight = p[e] * shrink, slope = value + weight_decay * weight;
        const T mean = m[e] + gain1 * (slope - m[e]);
        const T square = decay2 * v[e] + gain2 * (slope * slope);
        g[e] = value;
        m[e] = mean;
        v[e] = square;
        p[e] = weight - rate * (mean / (sqrt(square) + eps));
    }
};

// Update by a gradient that an earlier launch has left in `g`.
template <int THREADS, class Out>
__device__ void update(Out out, const T* g, int size)
{
    for (int e = threadIdx.x; e < size; e += THREADS) out(e, g[e]);
}
