// deal: hand out what changes from step to step; finish: note the result of a step, go to the next.
//
//   deal      now = table[step]; entry i of each array of the batch = entry first + i of the epoch's,
//             with first = now[0]
//   finish    losses[step] = loss; corrects[step] = correct; step = step + 1
//
//   table (steps, words)        now (words,)        step (1,)        losses, corrects (steps,)
//   order, inverted, gray, labels (n,)  coefficients (n, 6): of the epoch; of the batch (N,) and (N, 6)
//   coefficients, inverted, gray may be null, then those of the batch are not written
//
// The kernels of a graph have no arguments that change. So a step begins with a copy of its share to fixed
// places, where the other kernels find it.
//
// Threads: one per number, up to 6 N or `words`, in a grid-stride loop; finish has one.
// NumPy twins: deal and finish in nplenet/compiled/cuda/feed.py.

extern "C" __global__ void deal(const unsigned long long* __restrict__ table, const long long* __restrict__ step,
                                unsigned long long* __restrict__ now, int words, const int* __restrict__ order,
                                const int* __restrict__ coefficients, const unsigned char* __restrict__ inverted,
                                const unsigned char* __restrict__ gray, const long long* __restrict__ labels,
                                int* __restrict__ batch_order, int* __restrict__ batch_coefficients,
                                unsigned char* __restrict__ batch_inverted, unsigned char* __restrict__ batch_gray,
                                long long* __restrict__ batch_labels, int N)
{
    const unsigned long long* row = table + *step * words;
    const long long first = (long long)row[0];
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < words || i < 6 * N; i += gridDim.x * blockDim.x) {
        if (i < words) now[i] = row[i];
        if (coefficients && i < 6 * N) batch_coefficients[i] = coefficients[6 * first + i];
        if (i >= N) continue;
        batch_order[i] = order[first + i];
        batch_labels[i] = labels[first + i];
        if (inverted) batch_inverted[i] = inverted[first + i];
        if (gray) batch_gray[i] = gray[first + i];
    }
}

template <typename T>
__global__ void finish(const T* __restrict__ loss, const long long* __restrict__ correct,
                       double* __restrict__ losses, long long* __restrict__ corrects, long long* __restrict__ step)
{
    const long long k = *step;
    losses[k] = double(*loss);
    corrects[k] = *correct;
    *step = k + 1;
}
