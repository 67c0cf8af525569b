// add_sums: add the sum of each channel to what is there; bias and weight gradients.
//
//   total[c] += sum of a[n, c, l] over n and l
//
//   a      (N, C, L), M = N * L numbers per channel
//   total  (C,)
//
// Threads: a block takes `width` neighbouring channels; its threads form rows of that width, row r adds
// the numbers r, r + rows, ... of its channel in float64, and a tree in shared memory adds the rows, so
// the order is fixed. width = 32 for L = 1, where neighbouring channels are neighbouring numbers, and 1
// otherwise, where neighbouring threads take neighbouring l: reads are coalesced either way.
// blockDim.x is a power of two, a multiple of width and at most 1024.
// NumPy twin: add_sums in nplenet/layers/products.py.

template <typename T>
__global__ void add_sums(const T* __restrict__ a, T* __restrict__ total, int C, int L, int M, int width)
{
    __shared__ double sums[1024];
    const int t = threadIdx.x;
    const long long c = (long long)blockIdx.x * width + t % width;
    double sum = 0.0;
    if (c < C)
        for (unsigned int m = t / width; m < (unsigned int)M; m += blockDim.x / width)
            sum += (double)a[((long long)(m / L) * C + c) * L + m % L];
    sums[t] = sum;
    __syncthreads();
    for (int half = blockDim.x / 2; half >= width; half /= 2) {
        if (t < half) sums[t] += sums[t + half];
        __syncthreads();
    }
    if (t < width && c < C) total[c] = T((double)total[c] + sums[t]);
}
