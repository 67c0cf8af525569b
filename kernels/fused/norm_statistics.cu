// The statistics of a batch, for batch norm.
//
//   mean = sum(x) / M    var = sum((x - mean)^2) / M                                  over the M numbers of a channel
//
// Each block leaves mean and sum of squares of its own images in a row of `rows`; in the next launch each block
// joins all rows, so that all have the same bits, and block 0 tracks the running statistics:
//
//   block 0   images 0, B, ...      --> row 0 --.
//   block 1   images 1, B + 1, ...  --> row 1 --+-- next launch --> mean, var in each block
//   block 2   images 2, B + 2, ...  --> row 2 --'
//
//   x, saved (I, C, H, W)   rows (blocks, C) of two doubles   origins, sums (PARTS, C), joined (C), shared
//   Shape   C, L = H * W, WIDTH, PARTS, VECTOR; LANES for the join
//
// Threads of the sums: PARTS groups of WIDTH neighbouring lanes per channel, which take packs of VECTOR numbers;
// sums of 16 numbers in T, beyond that in double, around the first number of the channel, so that nothing is
// lost beside a large mean. Threads of the join: see join_rows.cu; Chan, Golub & LeVeque, 1983, "Algorithms for
// computing the sample variance", (2.1b). Global memory: x is read and written once.
// NumPy twins: batch_norm_sums and batch_norm_center in nplenet/layers/batchnorm.py.

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

// Leave mean and biased variance of the batch in joined[0 ... C - 1].
template <int THREADS, int I, class Shape>
__device__ void join_statistics(const Two* __restrict__ rows, int blocks, int images, Two* joined)
{
    const double M = (double)images * Shape::L;
    const Shares<I> shares(blocks, images);
    join_rows<THREADS, Shape>(rows, blocks, joined, [=](int c, int block, const Two& own) -> Two {
        const double n = (double)shares.of(block) * Shape::L, deviation = own.first - rows[c].first;
        return {n * deviation, own.second + n * deviation * deviation};
    });
    for (int c = threadIdx.x; c < Shape::C; c += THREADS) {
        const double sum = joined[c].first, var = (joined[c].second - sum * sum / M) / M;
        joined[c] = {rows[c].first + sum / M, var < 0.0 ? 0.0 : var};  // NaN stays, which max would drop
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
