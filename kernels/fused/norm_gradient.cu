// Backward of batch normalisation, with the nonlinearity and the average pool that follow it.
//
//   d = dy of the pixel's window / (PH * PW) * act'(p)                                (0 where it has no window)
//   dbias = sum(d)    dweight = sum(d * xhat)    xhat = (x - mean) * inverse_std      over the M numbers of a channel
//   dx = scale * (d - dbias / M - xhat * dweight / M);  in inference dx = scale * d
//
//   x, dx (I, C, H, W)   dy (I, C, OH, OW)   rows (blocks, C) of two doubles   values, slopes, joined (C), shared
//   Shape   as in norm.cu; WIDTH and PARTS as in norm_statistics.cu, for cells
//
// Threads: one per cell (cells.cu). Global memory: x and dy are read once, dx is written once.
// NumPy twins: batch_norm_gradient_sums, batch_norm_backward in nplenet/layers/batchnorm.py.

struct NormSlopes {
    T slope, shift;
};

// Return d of a pixel.
template <class Activation>
__device__ __forceinline__ T gradient_at(Activation act, const NormValues& v, T x, T dy)
{
    const T p = normalised(v, x);
    return dy * act.slope(p, act(p));
}

template <int THREADS, class Shape, class Activation>
__device__ void norm_gradient_sums(Activation act, const T* x, const T* dy, const NormValues* values, Two* sums,
                                   int count)
{
    constexpr int C = Shape::C, WIDTH = Shape::WIDTH, TEAMS = C * Shape::PARTS, STRIDE = Shape::PARTS * WIDTH;
    constexpr int CW = Shape::CW, CELLS = Shape::CH * CW, PIXELS = Shape::PH * Shape::PW;
    constexpr int GROUP = Shape::AHEAD;
    for (int begin = 0; begin < TEAMS; begin += THREADS / WIDTH) {
        const int team = begin + threadIdx.x / WIDTH, c = team % C;
        const bool busy = team < TEAMS;
        const NormValues v = values[c];
        double sum = 0.0, product = 0.0;
        const int own = computed_here(team / C * WIDTH + threadIdx.x % WIDTH);
        for (int i = own; i < count * CELLS && busy; i += GROUP * STRIDE) {
            Cell<Shape> cells[GROUP];
#pragma unroll
            for (int g = 0; g < GROUP; ++g) {
                const int at = i + g * STRIDE, cell = at % CELLS;
                if (at < count * CELLS) cells[g] = load_cell<Shape>(x, dy, at / CELLS * C + c, cell / CW, cell % CW);
            }
            T some = T(0), products = T(0);
#pragma unroll
            for (int g = 0; g < GROUP; ++g)
                if (i + g * STRIDE < count * CELLS)
#pragma unroll
                    for (int e = 0; e < PIXELS; ++e) {
                        const T value = cells[g].x[e / Shape::PW][e % Shape::PW];
                        const T d = gradient_at(act, v, value, cells[g].dy);
                        some += d;
                        products += d * (value - v.center);
                    }
            sum += some;
            product += products;
        }
        sum = lanes_sum<WIDTH>(sum);
        product = lanes_sum<WIDTH>(product);
        if (busy && threadIdx.x % WIDTH == 0) {
            sums[team].first += sum;
            sums[team].second += product * v.inverse_std;
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

// Leave dbias and dweight in joined[0 ... C - 1].
template <int THREADS, class Shape>
__device__ void join_gradients(const Two* __restrict__ rows, int blocks, Two* joined)
{
    join_rows<THREADS, Shape>(rows, blocks, joined, [](int, int, const Two& own) { return own; });
}

template <int THREADS, int C, class OutWeight, class OutBias>
__device__ void write_norm_gradients(const Two* joined, OutWeight out_weight, OutBias out_bias)
{
    for (int c = threadIdx.x; c < C; c += THREADS) {
        out_bias(c, T(joined[c].first));
        out_weight(c, T(joined[c].second));
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

// slopes is null in inference. Without SCALED, and without slopes, dx is d: see first_norm.cu.
template <int THREADS, int I, class Shape, bool SCALED = true, class Activation>
__device__ void norm_backward(Activation act, const T* x, const T* dy, const NormValues* values,
                              const NormSlopes* slopes, T* dx, int count)
{
    constexpr int C = Shape::C, CH = Shape::CH, CW = Shape::CW, PH = Shape::PH, PW = Shape::PW;
    constexpr int MOST = (I * C * CH * CW + THREADS - 1) / THREADS;
    constexpr int GROUP = MOST < Shape::AHEAD ? MOST : Shape::AHEAD;
    each_of<THREADS, GROUP>(
        count * C * CH * CW,
        [=](int i) { return load_cell<Shape>(x, dy, i / (CH * CW), i / CW % CH, i % CW); },
        [=](int i, const Cell<Shape>& cell) {
            const int plane = i / (CH * CW), h = i / CW % CH, w = i % CW;
            const NormValues& v = values[plane % C];
            const NormSlopes s = slopes ? slopes[plane % C] : NormSlopes{T(0), T(0)};
            T results[PH][PW];
#pragma unroll
            for (int e = 0; e < PH * PW; ++e) {
                const T value = cell.x[e / PW][e % PW];
                T result = gradient_at(act, v, value, cell.dy);
                if (SCALED) result *= v.scale;
                if (slopes) result = result - s.slope * (value - v.center) - s.shift;
                results[e / PW][e % PW] = result;
            }
            store_cell<Shape>(results, dx, plane, h, w);
        });
}
