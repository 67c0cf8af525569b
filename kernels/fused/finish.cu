// count_step: add up what the blocks say of the loss, note it in the feed, and let the next step begin.
//
//   losses[step] = T(scale * sum of the loss), as double      correct[step] = sum of the correct predictions
//   fault = (forward, first image with a label outside, its label), unless there is an earlier fault
//   step += 1, last of all
//
//   parts (blocks)   labels (N): of this step   now (words): its row of the table   fault (3)
//
// Threads: the first warp adds up, in a fixed order. One block alone runs this, and no other block of its launch
// reads `step`: they run while it is raised.
// NumPy twin: cross_entropy in nplenet/losses.py.

template <int THREADS>
__device__ void count_step(const LossPart* parts, int blocks, double scale, const long long* all_labels,
                           const unsigned long long* now, long long* step, double* losses, long long* correct,
                           long long* fault)
{
    const long long own = *step;
    if (threadIdx.x < 32) {
        double loss = 0.0;
        int right = 0, first_fault = NO_FAULT;
        for (int block = threadIdx.x; block < blocks; block += 32) {
            loss += parts[block].loss;
            right += parts[block].correct;
            first_fault = min(first_fault, parts[block].fault);
        }
        loss = lanes_sum<32>(loss);
        right = lanes_sum<32>(right);
        for (int distance = 16; distance > 0; distance /= 2)
            first_fault = min(first_fault, __shfl_xor_sync(0xffffffffu, first_fault, distance));
        if (threadIdx.x == 0) {
            losses[own] = double(T(loss * scale));
            correct[own] = right;
            if (first_fault != NO_FAULT && fault[0] == 0) {
                fault[0] = (long long)now[1];
                fault[1] = first_fault;
                fault[2] = all_labels[(long long)now[0] + first_fault];
            }
        }
    }
    __syncthreads();
    if (threadIdx.x == 0) *step = own + 1;
}
