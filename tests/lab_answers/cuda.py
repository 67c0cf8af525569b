# ruff: noqa: E501
"""A CUDA kernel: answers."""

from __future__ import annotations

WRONG = [
    (" / 4;", ";", "one image", "the divisor 4 is missing"),
    (" / 4;", " / 2;", "one image", "divided by 2"),
    (" + corner[W] + corner[W + 1])", ")", "one image", "the second row of each window is missing"),
    (" + corner[W + 1])", ")", "one image", "the last pixel of each window is missing"),
    ("2 * oh * W + 2 * ow", "oh * W + ow", "one image", "windows overlap"),
    ("i += gridDim.x * blockDim.x", "i += total", "fewer threads than values", "never written"),
    ("for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < total; i += gridDim.x * blockDim.x) {", "{ const int i = blockIdx.x * blockDim.x + threadIdx.x;", "more threads than values", "outside of y"),
    ("x + i / (OW * OH) * H * W +", "x +", "several images, odd sizes", "every image is the first"),
    ("i < total;", "i <= total;", "one image", "outside of y"),
    ("        y[i] = (", "        if (i == 0) for (int k = 0; k < total; ++k) y[k] = 0;\n        y[i] = 0 * y[i] + (", "any order of threads", "the order in which the threads run"),
    ("const int ow = i % OW;", "const int ow = i % OW", "one image", "does not compile"),
    ("const int oh = i / OW % OH;", "const int oh = i / OW;", "several images, odd sizes", "outside of x"),
]  # fmt: skip

KERNEL = "__global__ void average_pool_2x2(const float* x, float* y, int images, int H, int W)\n"
RIGHT = {
    "long long and a while loop": """{
    const long long total = (long long)images * (H / 2) * (W / 2);
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    while (i < total) {
        const int ow = i % (W / 2), oh = i / (W / 2) % (H / 2);
        const long long image = i / (W / 2) / (H / 2);
        const float* p = x + (image * H + 2 * oh) * W + 2 * ow;
        y[i] = 0.25f * (p[0] + p[1] + p[W] + p[W + 1]);
        i += (long long)gridDim.x * blockDim.x;
    }
}
""",
    "a loop over the window": """{
    const int total = images * (H / 2) * (W / 2);
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < total; i += gridDim.x * blockDim.x) {
        const int ow = i % (W / 2), oh = i / (W / 2) % (H / 2), n = i / (W / 2) / (H / 2);
        float sum = 0.0f;
        for (int kh = 0; kh < 2; ++kh)
            for (int kw = 0; kw < 2; ++kw) sum += x[(n * H + 2 * oh + kh) * W + 2 * ow + kw];
        y[i] = sum / 4.0f;
    }
}
""",
    "the first thread does everything": """{
    if (blockIdx.x != 0 || threadIdx.x != 0) return;
    for (int n = 0; n < images; ++n)
        for (int oh = 0; oh < H / 2; ++oh)
            for (int ow = 0; ow < W / 2; ++ow) {
                const float* p = x + n * H * W + 2 * oh * W + 2 * ow;
                y[(n * (H / 2) + oh) * (W / 2) + ow] = (p[0] + p[1] + p[W] + p[W + 1]) / 4;
            }
}
""",
    "an image per block": """{
    const int OH = H / 2, OW = W / 2;
    for (int n = blockIdx.x; n < images; n += gridDim.x)
        for (int i = threadIdx.x; i < OH * OW; i += blockDim.x) {
            const float* p = x + n * H * W + i / OW * 2 * W + i % OW * 2;
            y[n * OH * OW + i] = (p[0] + p[1] + p[W] + p[W + 1]) / 4;
        }
}
""",
    "pointers without brackets": """{
    const int OH = H / 2, OW = W / 2, step = gridDim.x * blockDim.x;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < images * OH * OW; i += step) {
        const float* p = x + (i / OW / OH * H + i / OW % OH * 2) * W + i % OW * 2;
        *(y + i) = (*p + *(p + 1) + *(p + W) + *(p + W + 1)) * 0.25f;
    }
}
""",
    "from the last value to the first": """{
    const int OH = H / 2, OW = W / 2, step = gridDim.x * blockDim.x;
    for (int i = images * OH * OW - 1 - (int)(blockIdx.x * blockDim.x + threadIdx.x); i >= 0; i -= step) {
        const int row = i / OW, image = row / OH;
        const float* p = x + (image * H + row % OH * 2) * W + i % OW * 2;
        y[i] = p[0] / 4 + p[1] / 4 + p[W] / 4 + p[W + 1] / 4;
    }
}
""",
}
