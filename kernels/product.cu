// product: out = a @ b, or out = out + a @ b, for stacks of matrices that may lie in memory in any way.
//
//   out[s, m, p] = sum over k of a[s, m, k] * b[s, k, p]  (+ out[s, m, p])
//
//   a   (S, M, K) at steps a_stack, a_row, a_column; a_stack 0 repeats one matrix
//   b   (S, K, P) at steps b_stack, b_row, b_column
//   out (S, M, P), C-contiguous
//
// Steps count numbers, not bytes: a transposed matrix has its steps swapped, and nothing is copied. With
// `slices` > 1 the sum over k is cut into slices of `depth`, each a block's own product in `out`
// (S, slices, M, P); sum_slices adds them up. So a product of few numbers over a long k fills a device.
//
//                 k ->                          p ->
//              +--------+                  +-----+-----+
//            m |        |                k |     |#####|
//            | |        |                | |     |#####| 16 k at a time: both strips pass through
//            v +--------+                v |     |#####| shared memory, the next two meanwhile
//              |########|                  +-----+-----+ through registers
//              |########|                  |     | t t |
//              +--------+                  |     | t t | a thread's numbers lie side by side:
//                16 k                      +-----+-----+ 4 x 4, 1 x 4 or 1 x 1
//                                            one block's tile of out
//
// Threads: a block of 16 x 16 threads makes a tile of out, in a grid-stride loop over the tiles. Each thread
// holds its numbers in registers: per k it reads ROWS + COLUMNS numbers of shared memory for ROWS * COLUMNS
// multiplications. product_64x64 is for large matrices, product_16x64 for few rows (a convolution's
// filters), product_16x16 for small matrices: more blocks, if lazier ones. Neighbouring threads read
// neighbouring numbers of a and of b if either step within the matrix is 1. Each sum goes along k, in one
// order. blockDim.x is 256.
// NumPy twins: product, add_product and matrix_product in nplenet/layers/products.py.

constexpr int SLAB = 16;  // numbers of k at a time
constexpr int SIDE = 16;  // threads of a block along either axis

// Some neighbouring numbers, read from shared memory at once: 16 bytes is the most per instruction.
template <typename T, int COUNT>
struct alignas(COUNT * sizeof(T) < 16 ? COUNT * sizeof(T) : 16) Pack {
    T at[COUNT];
};

// One operand. To it a row of a and a column of b are the same, a line: numbers along k.
template <typename T, int COUNT>  // numbers per thread: of a slab's SIDE * COUNT lines of SLAB numbers
struct Operand {
    const T* first;
    long long line_step, k_step;
    int begin, lines;  // first line of the tile, number of lines of the matrix
    T held[COUNT];

    // Say which number of a slab is the i-th of this thread; neighbouring threads go along step 1.
    __device__ void place(int i, int& line, int& k) const
    {
        const int e = i * SIDE * SIDE + threadIdx.x;
        line = k_step == 1 ? e / SLAB : e % (SIDE * COUNT);
        k = k_step == 1 ? e % SLAB : e / (SIDE * COUNT);
    }

    // Read a slab into registers, with zeros beyond the matrix.
    __device__ void fetch(int start, int end)
    {
        for (int i = 0; i < COUNT; ++i) {
            int line, k;
            place(i, line, k);
            const bool inside = begin + line < lines && start + k < end;
            held[i] = inside ? first[(begin + line) * line_step + (start + k) * k_step] : T(0);
        }
    }

    __device__ void store(Pack<T, COUNT> (*slab)[SIDE + 1]) const
    {
        for (int i = 0; i < COUNT; ++i) {
            int line, k;
            place(i, line, k);
            slab[k][line / COUNT].at[line % COUNT] = held[i];
        }
    }
};

template <typename T, int ROWS, int COLUMNS>
__device__ void product(const T* a, const T* b, T* out, int S, int M, int P, int K, int slices, int depth,
                        long long a_stack, long long a_row, long long a_column, long long b_stack,
                        long long b_row, long long b_column, int add)
{
    __shared__ Pack<T, ROWS> left[SLAB][SIDE + 1];
    __shared__ Pack<T, COLUMNS> right[SLAB][SIDE + 1];
    const int tx = threadIdx.x % SIDE, ty = threadIdx.x / SIDE;
    const int down = (M - 1) / (SIDE * ROWS) + 1, across = (P - 1) / (SIDE * COLUMNS) + 1;
    const long long tiles = (long long)S * slices * down * across;
    for (long long tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const long long matrix = tile / across / down;  // of the stack, and its slices
        const int start = (int)(matrix % slices) * depth, end = min(K, start + depth);
        const int row = (int)(tile / across % down) * SIDE * ROWS, column = (int)(tile % across) * SIDE * COLUMNS;
        Operand<T, ROWS> x = {a + matrix / slices * a_stack, a_row, a_column, row, M};
        Operand<T, COLUMNS> y = {b + matrix / slices * b_stack, b_column, b_row, column, P};
        T sums[ROWS][COLUMNS] = {};
        x.fetch(start, end);
        y.fetch(start, end);
        for (int k = start; k < end; k += SLAB) {
            x.store(left);
            y.store(right);
            __syncthreads();
            x.fetch(k + SLAB, end);  // under way while this slab is multiplied
            y.fetch(k + SLAB, end);
            for (int i = 0; i < SLAB; ++i) {
                const Pack<T, ROWS> u = left[i][ty];
                const Pack<T, COLUMNS> v = right[i][tx];
                for (int r = 0; r < ROWS; ++r)
                    for (int c = 0; c < COLUMNS; ++c) sums[r][c] += u.at[r] * v.at[c];
            }
            __syncthreads();
        }
        T* const made = out + matrix * M * P;
        for (int r = 0; r < ROWS; ++r)
            for (int c = 0; c < COLUMNS; ++c) {
                const int m = row + ty * ROWS + r, p = column + tx * COLUMNS + c;
                if (m >= M || p >= P) continue;
                T* const number = made + (long long)m * P + p;
                *number = add ? *number + sums[r][c] : sums[r][c];
            }
    }
}

template <typename T>
__global__ void __launch_bounds__(256, 1)
    product_64x64(const T* __restrict__ a, const T* __restrict__ b, T* __restrict__ out, int S, int M, int P,
                  int K, int slices, int depth, long long a_stack, long long a_row, long long a_column,
                  long long b_stack, long long b_row, long long b_column, int add)
{
    product<T, 4, 4>(a, b, out, S, M, P, K, slices, depth, a_stack, a_row, a_column, b_stack, b_row, b_column, add);
}

template <typename T>
__global__ void __launch_bounds__(256)
    product_16x64(const T* __restrict__ a, const T* __restrict__ b, T* __restrict__ out, int S, int M, int P,
                  int K, int slices, int depth, long long a_stack, long long a_row, long long a_column,
                  long long b_stack, long long b_row, long long b_column, int add)
{
    product<T, 1, 4>(a, b, out, S, M, P, K, slices, depth, a_stack, a_row, a_column, b_stack, b_row, b_column, add);
}

template <typename T>
__global__ void __launch_bounds__(256)
    product_16x16(const T* __restrict__ a, const T* __restrict__ b, T* __restrict__ out, int S, int M, int P,
                  int K, int slices, int depth, long long a_stack, long long a_row, long long a_column,
                  long long b_stack, long long b_row, long long b_column, int add)
{
    product<T, 1, 1>(a, b, out, S, M, P, K, slices, depth, a_stack, a_row, a_column, b_stack, b_row, b_column, add);
}

// Write the sums over the slices to out, or add them there; one thread per number, first slice first.
template <typename T>
__global__ void sum_slices(const T* __restrict__ parts, T* __restrict__ out, int S, int slices, long long size,
                           int add)
{
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < S * size; i += step) {
        const T* const part = parts + i / size * slices * size + i % size;
        T sum = part[0];
        for (int s = 1; s < slices; ++s) sum += part[s * size];
        out[i] = add ? out[i] + sum : sum;
    }
}
