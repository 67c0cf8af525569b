// What the reader changes in the network: kernels that are off, and the temperature of the softmax.

export class Experiment {
  /**
   * @param steps of the network, the last of which is the softmax
   * @param temperature of the softmax to begin with
   */
  constructor(steps, temperature) {
    this.whole = steps;
    this.off = new Map(); // from the number of a step to the set of its kernels that are off
    this.setTemperature(temperature);
  }

  /** Return how many kernels are off. */
  get count() {
    return [...this.off.values()].reduce((sum, kernels) => sum + kernels.size, 0);
  }

  isOff(step, kernel) {
    return this.off.get(step)?.has(kernel) ?? false;
  }

  switchKernel(step, kernel) {
    if (!this.off.has(step)) this.off.set(step, new Set());
    const kernels = this.off.get(step);
    if (!kernels.delete(kernel)) kernels.add(kernel);
    this.rebuild();
  }

  switchAllOn() {
    this.off.clear();
    this.rebuild();
  }

  setTemperature(temperature) {
    this.temperature = temperature;
    this.whole = this.whole.with(-1, { ...this.whole.at(-1), temperature });
    this.rebuild();
  }

  /** Make the steps as they are now: copies, where something is changed. */
  rebuild() {
    this.steps = this.whole.map((step, k) =>
      this.off.get(k)?.size ? withoutKernels(step, this.off.get(k)) : step,
    );
  }
}

/** Return a convolution in which some kernels and their biases are zero, and so their maps. */
function withoutKernels(step, kernels) {
  const size = step.weight.length / step.out_channels;
  const weight = step.weight.slice();
  const bias = step.bias?.slice() ?? null;
  for (const f of kernels) {
    weight.fill(0, f * size, (f + 1) * size);
    if (bias) bias[f] = 0;
  }
  return { ...step, weight, bias };
}
