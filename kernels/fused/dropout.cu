// dropout: zero each value with probability p, scale the others by 1 / (1 - p).
//
//   kept[j] = word[first + j] >= threshold        y[j] = x[j] * (kept[j] ? scale : 0), and dx from dy likewise
//
//   word[w] = half w % 8 (the low half of a word first) of what Philox4x64-10 makes of counter 1 + w / 8
//   x, y, kept, dy, dx (I * SIZE); dx may be dy; first: the number of values of the images before, in the whole batch
//
// Threads: of the mask, one per counter, which decides 8 neighbouring values; Philox has no state, so a block
// makes the words of its own images alone, before they are needed. kept is a byte per value. Of the product,
// forward and backward, one per value, as in activation.cu: between the two a block needs no barrier.
// NumPy twin: dropout in nplenet/layers/dropout.py.

// Make four random words of (counter, 0, 0, 0) and the key (k0, 0): ten rounds (Salmon et al., 2011, section 3.3).
__device__ void philox4x64_10(unsigned long long counter, unsigned long long k0, unsigned long long words[4])
{
    const unsigned long long A = 0xD2E7470EE14C6C93ull, B = 0xCA5A826395121157ull;
    unsigned long long c0 = counter, c1 = 0, c2 = 0, c3 = 0, k1 = 0;
#pragma unroll
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

template <int THREADS>
__device__ void dropout_mask(unsigned char* kept, unsigned long long key, long long first, unsigned long long threshold,
                             int size)
{
    const int skipped = (int)(first % 8);
    for (int begin = 8 * (int)threadIdx.x - skipped; begin < size; begin += 8 * THREADS) {
        unsigned long long words[4];
        philox4x64_10(1 + (unsigned long long)((first + begin) / 8), key, words);
#pragma unroll
        for (int e = 0; e < 8; ++e) {
            const int j = begin + e;
            if (j >= 0 && j < size) kept[j] = (words[e / 2] >> (e % 2 * 32) & 0xffffffffu) >= threshold;
        }
    }
}

template <int THREADS>
__device__ void dropout(const T* x, const unsigned char* kept, T* y, T scale, int size)
{
    for (int j = threadIdx.x; j < size; j += THREADS) y[j] = x[j] * (kept[j] ? scale : T(0));
}
