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
//   Shape   C, H, W, OH, OW, PH, PW, L = H * W, CH x CW cells, WIDTH, PARTS, LANES, VECTOR,
//           AHEAD: cells that a thread loads before it uses the first
//
//    W                     A thread takes a cell at a time: the PH x PW pixels of a window, which share its dy
//   .-------.-------.-.    and its address; each row of them is one load. Cells on the lower and the right edge
//   | a   a | b   b |c|    may be cut off: such pixels have no window, but they have a dx. Neighbouring threads
//   | a   a | b   b |c|    have neighbouring cells.
//   '-------'-------'-'
//
// Threads of the sums: PARTS groups of WIDTH neighbouring lanes per channel, which take packs of VECTOR numbers
// or cells; sums of 16 numbers in T, beyond that in double, around the first number of the channel, so that
// nothing is lost beside a large mean. Threads of a join: LANES neighbouring ones per channel, with eight rows
// each on their way at once; Chan, Golub & LeVeque, 1983, "Algorithms for computing the sample variance",
// (2.1b). Global memory: x is read once per pass, x and dy are written once.
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

// ---------------------------------------------------------------- cells

// The pixels of a cell, and dy of their window: 0 for pixels without a window.
template <class Shape>
struct Cell {
    T x[Shape::PH][Shape::PW], dy;
};

// Whether a cell lies whole in the image. With `true` at hand, the compiler leaves all other cases out.
template <class Shape>
__device__ __forceinline__ bool is_whole(int h, int w)
{
    const bool rows = Shape::CH == Shape::OH || h < Shape::OH, columns = Shape::CW == Shape::OW || w < Shape::OW;
    return rows && columns;
}

// Load the cell (h, w) of a plane, number `plane` of I * C; dy may be null.
template <class Shape>
__device__ __forceinline__ Cell<Shape> load_cell(const T* x, const T* dy, int plane, int h, int w)
{
    constexpr int H = Shape::H, W = Shape::W, PH = Shape::PH, PW = Shape::PW, N = W % PW == 0 ? PW : 1;
    const T* corner = x + (plane * H + h * PH) * W + w * PW;
    Cell<Shape> cell;
    if (is_whole<Shape>(h, w)) {
#pragma unroll
        for (int e = 0; e < PH * PW; e += N) {
            const Pack<N> some = pack_at<N>(corner + e / PW * W + e % PW);
#pragma unroll
            for (int j = 0; j < N; ++j) cell.x[e / PW][e % PW + j] = some.values[j];
        }
        cell.dy = dy ? dy[(plane * Shape::OH + h) * Shape::OW + w] / T(PH * PW) : T(0);
        return cell;
    }
#pragma unroll
    for (int e = 0; e < PH * PW; ++e) {
        const bool inside = h * PH + e / PW < H && w * PW + e % PW < W;
        cell.x[e / PW][e % PW] = inside ? corner[e / PW * W + e % PW] : T(0);
    }
    cell.dy = T(0);
    return cell;
}

template <class Shape>
__device__ __forceinline__ void store_cell(const T (&x)[Shape::PH][Shape::PW], T* to, int plane, int h, int w)
{
    constexpr int H = Shape::H, W = Shape::W, PH = Shape::PH, PW = Shape::PW, N = W % PW == 0 ? PW : 1;
    T* corner = to + (plane * H + h * PH) * W + w * PW;
#pragma unroll
    for (int e = 0; e < PH * PW; e += N) {
        if (!is_whole<Shape>(h, w) && (h * PH + e / PW >= H || w * PW + e % PW >= W)) continue;
        Pack<N> some;
#pragma unroll
        for (int j = 0; j < N; ++j) some.values[j] = x[e / PW][e % PW + j];
        *reinterpret_cast<Pack<N>*>(corner + e / PW * W + e % PW) = some;
    }
}

// ---------------------------------------------------------------- statistics, and their join

template <int THREADS, class Shape>
__device__ void norm_statistics(const T* x, bool first, T* origins, Two* sums, T* saved, int count)
{
    constexpr int C = Shape::C, L = Shape::L, WIDTH = Shape::WIDTH, TEAMS = C * Shape::PARTS;
    constexpr int VECTOR = Shape::VECTOR, PACKS = L / VECTOR, STRIDE = Shape::PARTS * WIDTH;
    for (int begin = 0; begin < TEAMS; begin += THREADS / WIDTH) {
        const int team = begin + threadIdx.x / WIDTH, c = team % C;
        const bool busy = team < TEAMS;
        T origin = T(0);
        if (busy) origin = first ? x[c * L] : origins[team];
        double sum = 0.0, square = 0.0;
        for (int i = team / C * WIDTH + threadIdx.x % WIDTH; i < count * PACKS && busy;) {
            T some = T(0), squares = T(0);
            for (int j = 0; j < 16 && i < count * PACKS; j += VECTOR, i += STRIDE) {
                const int at = (i / PACKS * C + c) * L + i % PACKS * VECTOR;
                const Pack<VECTOR> values = pack_at<VECTOR>(x + at);
                *reinterpret_cast<Pack<VECTOR>*>(saved + at) = values;
#pragma unroll
                for (int e = 0; e < VECTOR; ++e) {
                    const T deviation = values.values[e] - origin;
                    some += deviation;
                    squares += deviation * deviation;
                }
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

// Call add(block, row) for the rows of a channel, LANES threads per channel, and leave the sums of what it returns
// in joined[0 ... C - 1]. Then the block waits.
template <int THREADS, class Shape, class Add>
__device__ __forceinline__ void join_rows(const Two* __restrict__ rows, int blocks, Two* joined, Add add)
{
    constexpr int C = Shape::C, LANES = Shape::LANES, AHEAD = 8;
    for (int begin = 0; begin < C; begin += THREADS / LANES) {
        const int c = begin + threadIdx.x / LANES;
        Two sum = {0.0, 0.0};
        for (int block = threadIdx.x % LANES; block < blocks && c < C; block += AHEAD * LANES) {
            Two some[AHEAD];
#pragma unroll
            for (int a = 0; a < AHEAD; ++a)
                if (block + a * LANES < blocks) some[a] = rows[(long long)(block + a * LANES) * C + c];
#pragma unroll
            for (int a = 0; a < AHEAD; ++a)
                if (block + a * LANES < blocks) {
                    const Two more = add(c, block + a * LANES, some[a]);
                    sum.first += more.first;
                    sum.second += more.second;
                }
        }
        sum.first = lanes_sum<LANES>(sum.first);
        sum.second = lanes_sum<LANES>(sum.second);
        if (threadIdx.x % LANES == 0 && c < C) joined[c] = sum;
    }
    __syncthreads();
}

// Leave mean and biased variance of the batch in joined[0 ... C - 1].
template <int THREADS, int I, class Shape>
__device__ void join_statistics(const Two* __restrict__ rows, int blocks, int images, Two* joined)
{
    const double M = (double)images * Shape::L;
    join_rows<THREADS, Shape>(rows, blocks, joined, [=](int c, int block, const Two& own) -> Two {
        const double n = (double)images_of<I>(block, blocks, images) * Shape::L, deviation = own.first - rows[c].first;
        return {n * deviation, own.second + n * deviation * deviation};
    });
    for (int c = threadIdx.x; c < Shape::C; c += THREADS) {
        const double sum = joined[c].first, square = joined[c].second;
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

template <int THREADS, int I, class Shape, class Activation>
__device__ void norm_forward(Activation act, const T* x, const NormValues* values, T* y, int count)
{
    constexpr int C = Shape::C, OH = Shape::OH, OW = Shape::OW, PIXELS = Shape::PH * Shape::PW;
    constexpr int MOST = (I * C * OH * OW + THREADS - 1) / THREADS;  // cells of a thread
    constexpr int GROUP = MOST < Shape::AHEAD ? MOST : Shape::AHEAD;
    each_of<THREADS, GROUP>(
        count * C * OH * OW,
        [=](int i) { return load_cell<Shape>(x, nullptr, i / (OH * OW), i / OW % OH, i % OW); },
        [=](int i, const Cell<Shape>& cell) {
            const NormValues& v = values[i / (OH * OW) % C];
            T sum = T(0);
#pragma unroll
            for (int e = 0; e < PIXELS; ++e) sum += act(normalised(v, cell.x[e / Shape::PW][e % Shape::PW]));
            y[i] = PIXELS == 1 ? sum : sum / T(PIXELS);
        });
}

// ---------------------------------------------------------------- backward

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

// slopes is null in inference.
template <int THREADS, int I, class Shape, class Activation>
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
                T result = gradient_at(act, v, value, cell.dy) * v.scale;
                if (slopes) result = result - s.slope * (value - v.center) - s.shift;
                results[e / PW][e % PW] = result;
            }
            store_cell<Shape>(results, dx, plane, h, w);
        });
}
