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
//
// square_sums: a part per block of the sum of all squares; the norm of a gradient.
//
//   parts[b] = sum of a[i]^2 over the i that block b takes
//
//   a (n), parts (gridDim.x) in float64
//
// Threads: a grid-stride loop over neighbouring numbers, then the same tree. blockDim.x is 256.
// NumPy twins: add_sums in nplenet/layers/products.py and norm in nplenet/optim/clip.py.

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

template <typename T>
__global__ void square_sums(const T* __restrict__ a, double* __restrict__ parts, long long n)
{
    __shared__ double sums[256];
    const int t = threadIdx.x;
    const long long step = (long long)gridDim.x * 256;
    double sum = 0.0;
    for (long long i = (long long)blockIdx.x * 256 + t; i < n; i += step) sum += (double)a[i] * (double)a[i];
    sums[t] = sum;
    __syncthreads();
    for (int half = 128; half > 0; half /= 2) {
        if (t < half) sums[t] += sums[t + half];
        __syncthreads();
    }
    if (t == 0) parts[blockIdx.x] = sums[0];
}
