// dropout: silence each value with probability p, scale the others by 1 / (1 - p).
//
//   y[i] = x[i] * mask[i]        mask[i] = 0 if word[i] < threshold, else scale
//
//   threshold = p * 2^32, scale = 1 / (1 - p), both from the host
//   word[i] = word i / B of the Philox4x32-10 counter i % B, with B = ceil(n / 4)
//   x, y, mask  (n)
//
// Philox (Salmon et al., 2011, "Parallel random numbers: as easy as 1, 2, 3") has no state: any thread
// makes the words of any counter, so the mask depends on the key alone, not on the order of the threads.
//
// Threads: one a counter, in a grid-stride loop; its four words serve the elements i, i + B, i + 2B and
// i + 3B, so neighbouring threads read and write neighbouring numbers.
// NumPy twin: dropout in nplenet/layers/dropout.py.

// Words c of a counter become four random words.
__device__ void philox4x32_10(unsigned int c[4], unsigned int k0, unsigned int k1)
{
    for (int round = 0; round < 10; ++round) {
        const unsigned long long a = 0xD2511F53ull * c[0];
        const unsigned long long b = 0xCD9E8D57ull * c[2];
        c[0] = (unsigned int)(b >> 32) ^ c[1] ^ k0;
        c[1] = (unsigned int)b;
        c[2] = (unsigned int)(a >> 32) ^ c[3] ^ k1;
        c[3] = (unsigned int)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

template <typename T>
__global__ void dropout(const T* __restrict__ x, T* __restrict__ y, T* __restrict__ mask, long long n,
                        unsigned long long key, unsigned long long threshold, T scale)
{
    const long long counters = (n + 3) / 4;
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long j = (long long)blockIdx.x * blockDim.x + threadIdx.x; j < counters; j += step) {
        unsigned int words[4] = {(unsigned int)j, (unsigned int)(j >> 32), 0u, 0u};
        philox4x32_10(words, (unsigned int)key, (unsigned int)(key >> 32));
        for (int w = 0; w < 4; ++w) {
            const long long i = w * counters + j;
            if (i >= n) break;
            const T m = words[w] < threshold ? T(0) : scale;
            mask[i] = m;
            y[i] = x[i] * m;
        }
    }
}
