// Average pooling 2x2 as a CUDA kernel: each window of four pixels becomes its average.
//
//   y[n, c, oh, ow] = (x[2 oh, 2 ow] + x[2 oh, 2 ow + 1] + x[2 oh + 1, 2 ow] + x[2 oh + 1, 2 ow + 1]) / 4
//
//   x (images, H, W)    y (images, H / 2, W / 2)    C-contiguous float32; `images` is N * C
//   An odd last row or column lies in no window.
//
// Any number of blocks and threads may be launched, fewer or more than y has values. So each thread
// begins at its own number, blockIdx.x * blockDim.x + threadIdx.x, goes on in steps of the number of
// all threads, gridDim.x * blockDim.x (a grid-stride loop), and never writes beyond the end of y.

__global__ void average_pool_2x2(const float* x, float* y, int images, int H, int W)
{
    // Your code:
    const int OH = H / 2;
    const int OW = W / 2;
    const int total = images * OH * OW;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < total; i += gridDim.x * blockDim.x) {
        const int ow = i % OW;
        const int oh = i / OW % OH;
        const float* corner = x + i / (OW * OH) * H * W + 2 * oh * W + 2 * ow;
        y[i] = (corner[0] + corner[1] + corner[W] + corner[W + 1]) / 4;
    }
    // End of your code
}
