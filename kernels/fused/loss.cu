// cross_entropy: loss, its gradient and the correct predictions of a block's images.
//
//   p[k] = exp(z[k]) / sum over j of exp(z[j])      t[k] = on * [k = label] + uniform
//   loss = sum over k of -t[k] * log p[k]           dz[k] = scale * (p[k] - t[k])
//
//   z, dz (I, K)   labels (I), global   part, in shared memory: what this block's images have added up to so far
//   A label outside 0 ... K - 1 gives NaN for loss and gradient, and its image is noted as the fault of the block.
//
// Threads: a warp per image, its lanes over the classes; the sums over lanes are butterflies, the same bits
// in every run. The loss of each image waits in shared memory until thread 0 adds them up, in order, in
// double.
// NumPy twin: cross_entropy in nplenet/losses.py.

struct LossPart {
    double loss;
    int correct, fault;  // fault: the first image whose label lies outside, NO_FAULT for none
};

const int NO_FAULT = 0x7fffffff;

template <int THREADS, int I, int K>
__device__ void cross_entropy(const T* z, const long long* __restrict__ labels, T on, T uniform, T scale, int n0,
                              T* dz, LossPart* each, LossPart* part, int count)
{
    const int lane = threadIdx.x % 32;
    for (int i = threadIdx.x / 32; i < count; i += THREADS / 32) {
        const T* row = z + i * K;
        const long long label = labels[i];
        const bool known = label >= 0 && label < K;
        T top = row[lane < K ? lane : 0];
        int prediction = lane < K ? lane : 0;
        for (int k = lane + 32; k < K; k += 32)
            if (row[k] > top) {
                top = row[k];
                prediction = k;
            }
        for (int distance = 16; distance > 0; distance /= 2) {
            const T other = __shfl_xor_sync(0xffffffffu, top, distance);
            const int place = __shfl_xor_sync(0xffffffffu, prediction, distance);
            if (other > top || (other == top && place < prediction)) {
                top = other;
                prediction = place;
            }
        }
        T total = T(0);
        for (int k = lane; k < K; k += 32) total += exp(row[k] - top);
        const T log_total = log(lanes_sum<32>(total));
        T loss = T(0);
        for (int k = lane; k < K; k += 32) {
            const T log_p = row[k] - top - log_total;
            const T t = (k == label ? on : T(0)) + uniform;
            if (t != T(0)) loss -= t * log_p;  // 0 * -inf is 0 here
            dz[i * K + k] = known ? (exp(log_p) - t) * scale : T(nan(""));
        }
        loss = lanes_sum<32>(loss);
        if (lane == 0) each[i] = {known ? double(loss) : nan(""), prediction == label, known ? NO_FAULT : n0 + i};
    }
    __syncthreads();
    if (threadIdx.x > 0) return;
    for (int i = 0; i < count; ++i) {
        part->loss += each[i].loss;
        part->correct += each[i].correct;
        part->fault = min(part->fault, each[i].fault);
    }
}
