// dropout: zero each value with probability p, scale the others by 1 / (1 - p).
//
//   y[i] = x[i] * mask[i]        mask[i] = 0 if word[i] < threshold, else scale
//
//   threshold = p * 2^32, scale = 1 / (1 - p), both from the host
//   key: from the host, or read at key_there where that is not null: a CUDA graph keeps the arguments with
//   which it was captured, so what changes from step to step has to lie in memory
//   word[i] = half j % 8 (the low half of a word first) of what Philox4x64-10 makes of counter 1 + j / 8,
//   j = first + i: the words before `first` belong to the images of other ranks
//   x, y, mask  (n)
//
// Philox (Salmon et al., 2011, "Parallel random numbers: as easy as 1, 2, 3") has no state: any thread
// makes the words of any counter, so the mask depends on the key alone, not on the order of the threads.
//
// Threads: a block takes 8 * 256 words at a time, in a grid-stride loop that begins with the whole counter
// in which `first` lies. Each thread makes the words of one counter, which decide 8 neighbouring elements;
// they pass through shared memory, so that neighbouring threads read and write neighbouring numbers.
// blockDim.x is 256.
// NumPy twin: dropout in nplenet/layers/dropout.py.

// Make four random words of (counter, 0, 0, 0) and the key (k0, 0): ten rounds (section 3.3).
__device__ void philox4x64_10(unsigned long long counter, unsigned long long k0, unsigned long long words[4])
{
    const unsigned long long A = 0xD2E7470EE14C6C93ull, B = 0xCA5A826395121157ull;
    unsigned long long c0 = counter, c1 = 0, c2 = 0, c3 = 0, k1 = 0;
    for (int round = 0; round < 10; ++round) {
        const unsigned long long even = c0;
        c0 = __umul64hi(B, c2) ^ c1 ^ k0;
        c1 = B * c2;
        c2 = __umul64hi(A, even) ^ c3 ^ k1;
        c3 = A * even;
        k0 += 0x9E3779B97F4A7C15ull;
        k1 += 0xBB67AE8584CAA73Bull;
    }
    words[0] = c0;
    words[1] = c1;
    words[2] = c2;
    words[3] = c3;
}

template <typename T>
__global__ void dropout(const T* __restrict__ x, T* __restrict__ y, T* __restrict__ mask, long long n,
                        long long first, unsigned long long key, unsigned long long threshold, T scale,
                        const unsigned long long* __restrict__ key_there)
{
    if (key_there) key = key_there[0];
    __shared__ unsigned long long words[4 * 256];
    const long long span = 8 * 256, skipped = first % 8;
    const int t = threadIdx.x;
    for (long long begin = span * blockIdx.x; begin < skipped + n; begin += span * gridDim.x) {
        philox4x64_10(1 + (first + begin) / 8 + t, key, words + 4 * t);
        __syncthreads();
        for (int e = t; e < span; e += 256) {
            const long long i = begin + e - skipped;
            if (i < 0 || i >= n) continue;
            const unsigned int word = (unsigned int)(words[e / 2] >> (e % 2 * 32));
            const T m = word < threshold ? T(0) : scale;
            mask[i] = m;
            y[i] = x[i] * m;
        }
        __syncthreads();
    }
}
