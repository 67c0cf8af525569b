// What the device functions of a fused step share.
//
// `T`, float or double, is defined in front of this file, as is `Source`, the type of the images. A block
// takes a few images at a time. Arrays of theirs lie one image after the other, in shared memory or in global
// memory alike: value e of image i of an array of SIZE values is at i * SIZE + e. THREADS is the number of
// threads of a block, a multiple of 32; all of them call each function. A function of a fused step ends
// without a barrier: the generated text has one after each call.
// NumPy twin: none; see each file.

struct alignas(16) Two {
    double first, second;
};

// N neighbouring values, loaded by as few instructions as their alignment allows.
template <int N>
struct alignas(N * sizeof(T) % 16 == 0 ? 16 : N * sizeof(T) % 8 == 0 ? 8 : sizeof(T)) Pack {
    T values[N];
};

template <int N>
__device__ __forceinline__ Pack<N> pack_at(const T* place)
{
    return *reinterpret_cast<const Pack<N>*>(place);
}

// Return the sum over WIDTH neighbouring lanes, to each of them the same bits. WIDTH is a power of 2,
// at most 32; all lanes of `mask` call, of which these are some.
template <int WIDTH, typename Number>
__device__ __forceinline__ Number lanes_sum(Number value, unsigned mask = 0xffffffffu)
{
    for (int distance = WIDTH / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(mask, value, distance);
    return value;
}

// How many images each block takes: block b of `blocks` takes groups b, b + blocks, ... of I images.
template <int I>
struct Shares {
    int each, more, last, missing;  // groups of all, blocks with one more, the block with the last one, and its gap

    __device__ Shares(int blocks, int images)
    {
        const int groups = (images + I - 1) / I;
        each = groups / blocks;
        more = groups - each * blocks;
        last = (more ? more : blocks) - 1;
        missing = groups * I - images;
    }

    __device__ int of(int block) const { return (each + (block < more)) * I - (block == last ? missing : 0); }
};

// Return i, hidden from the compiler, which otherwise would compute addresses once for all images and keep
// them in registers that a convolution needs.
__device__ __forceinline__ int computed_here(int i)
{
    asm volatile("" : "+r"(i));
    return i;
}

// Call use(i, load(i)) for i = 0 ... size - 1, shared out over the threads. A thread has GROUP loads on their
// way before it uses the first of them: a load waits 600 cycles for global memory, however many there are, and
// the compiler may not move one above the store of another number.
template <int THREADS, int GROUP, class Load, class Use>
__device__ __forceinline__ void each_of(int size, Load load, Use use)
{
#pragma unroll 1
    for (int begin = computed_here(threadIdx.x); begin < size; begin += GROUP * THREADS) {
        decltype(load(0)) some[GROUP];
#pragma unroll
        for (int g = 0; g < GROUP; ++g)
            if (begin + g * THREADS < size) some[g] = load(begin + g * THREADS);
#pragma unroll
        for (int g = 0; g < GROUP; ++g)
            if (begin + g * THREADS < size) use(begin + g * THREADS, some[g]);
    }
}

// Copy `size` packs of N numbers out of shared memory, whose loads need not be on their way together.
template <int THREADS, int N>
__device__ void copy(const T* from, T* to, int size)
{
    for (int i = computed_here(threadIdx.x); i < size; i += THREADS)
        *reinterpret_cast<Pack<N>*>(to + i * N) = pack_at<N>(from + i * N);
}

template <int THREADS, typename Number>
__device__ void fill_zero(Number* values, int size)
{
    for (int i = computed_here(threadIdx.x); i < size; i += THREADS) values[i] = Number(0);
}
