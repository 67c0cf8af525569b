// The network: every layer of nplenet written as the sum it is, for one image, ready to use (eval).
//
// A tensor is {shape, data}: data is a Float32Array in row-major order, shape has no batch axis, so
// feature maps are [C, H, W] and a vector is [n]. Legend as in Python: C channels, H W input size,
// F filters, KH KW window size, OH OW output size.
//
// Sums are made in JavaScript's numbers, of 64 bits, and rounded to 32 bits when they are stored.

/** Decode {name: {shape, data: base64 of little-endian float32}} into tensors. */
export function decodeTensors(table) {
  const decode = ({ shape, data }) => {
    const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
    return { shape, data: new Float32Array(bytes.buffer) };
  };
  return Object.fromEntries(Object.entries(table).map(([name, entry]) => [name, decode(entry)]));
}

/**
 * Turn a model's description, as nplenet.architecture.describe writes it, into a list of steps.
 *
 * Chains are lists of [name, layer] here, because an object would not keep the order of names that
 * look like numbers. Chains nest; the list is flat. A step has its path ("features.0"), type, arguments and tensors.
 */
export function buildSteps(description, tensors, path = "") {
  if (description.type === "Sequential") {
    return description.layers.flatMap(([name, layer]) =>
      buildSteps(layer, tensors, `${path}${name}.`),
    );
  }
  if (!(description.type in FORWARD)) throw new Error(`unknown layer ${description.type}`);
  const own = Object.entries(tensors)
    .filter(([name]) => name.startsWith(path) && !name.slice(path.length).includes("."))
    .map(([name, tensor]) => [name.slice(path.length), tensor.data]);
  return [{ path: path.slice(0, -1), ...description, bias: null, ...Object.fromEntries(own) }];
}

/** Return the tensors between the steps: the input, then the output of each step. */
export function runSteps(steps, input) {
  const values = [input];
  for (const step of steps) values.push(FORWARD[step.type](step, values.at(-1)));
  return values;
}

const FORWARD = {
  Conv2d: convolve,
  BatchNorm1d: normalize,
  BatchNorm2d: normalize,
  AvgPool2d: averagePool,
  MaxPool2d: maxPool,
  Flatten: (step, x) => ({ shape: [x.data.length], data: x.data }),
  Dense: multiply,
  Dropout: (step, x) => x, // drops units in training only
  ReLU: (step, x) => each(x, (v) => Math.max(v, 0)),
  LeakyReLU: (step, x) => each(x, (v) => (v > 0 ? v : step.negative_slope * v)),
  Sigmoid: (step, x) => each(x, (v) => Math.exp(Math.min(v, 0)) / (1 + Math.exp(-Math.abs(v)))),
  Tanh: (step, x) => each(x, Math.tanh),
  Softmax: softmax,
};

/** y[f, oh, ow] = bias[f] + sum over c, kh, kw of weight[f, c, kh, kw] * x[c, row, column] */
function convolve(step, x) {
  const [C, H, W] = x.shape;
  const [KH, KW] = step.kernel_size;
  const [OH, OW] = outputSize(step, x.shape);
  const { weight, bias } = step;
  const y = new Float32Array(step.out_channels * OH * OW);
  for (let f = 0, i = 0; f < step.out_channels; f++) {
    for (let oh = 0; oh < OH; oh++) {
      for (let ow = 0; ow < OW; ow++, i++) {
        const { top, left } = corner(step, oh, ow);
        const [first, end] = [Math.max(0, -left), Math.min(KW, W - left)]; // the padding is zero
        let sum = bias ? bias[f] : 0;
        for (let c = 0; c < C; c++) {
          for (let kh = Math.max(0, -top); kh < Math.min(KH, H - top); kh++) {
            const pixels = (c * H + top + kh) * W + left;
            const kernel = ((f * C + c) * KH + kh) * KW;
            for (let kw = first; kw < end; kw++) sum += weight[kernel + kw] * x.data[pixels + kw];
          }
        }
        y[i] = sum;
      }
    }
  }
  return { shape: [step.out_channels, OH, OW], data: y };
}

/** y = (x - mean) / sqrt(var + eps) * weight + bias, with the statistics that training left */
function normalize(step, x) {
  const length = x.data.length / x.shape[0]; // of a channel
  const y = x.data.map((v, i) => {
    const c = Math.floor(i / length);
    const deviation = Math.sqrt(step.running_var[c] + step.eps);
    return ((v - step.running_mean[c]) / deviation) * step.weight[c] + step.bias[c];
  });
  return { shape: x.shape, data: y };
}

/** y = sum of x over the window / divisor */
function averagePool(step, x) {
  return pool(step, x, (taps, oh, ow) => {
    const sum = taps.reduce((total, tap) => total + (tap.inside ? x.data[tap.index] : 0), 0);
    return sum / divisor(step, x.shape, oh, ow);
  });
}

/** y = max of x over the window; NaN wins, as in Python */
function maxPool(step, x) {
  return pool(step, x, (taps) =>
    Math.max(...taps.filter((t) => t.inside).map((t) => x.data[t.index])),
  );
}

function pool(step, x, combine) {
  const C = x.shape[0];
  const [OH, OW] = outputSize(step, x.shape);
  const y = new Float32Array(C * OH * OW);
  for (let c = 0, i = 0; c < C; c++) {
    for (let oh = 0; oh < OH; oh++) {
      for (let ow = 0; ow < OW; ow++, i++)
        y[i] = combine(windowTaps(step, x.shape, c, oh, ow), oh, ow);
    }
  }
  return { shape: [C, OH, OW], data: y };
}

/** y[o] = bias[o] + sum over i of x[i] * weight[o, i] */
function multiply(step, x) {
  const n = step.in_features;
  const y = new Float32Array(step.out_features);
  for (let o = 0; o < y.length; o++) {
    let sum = step.bias ? step.bias[o] : 0;
    for (let i = 0; i < n; i++) sum += x.data[i] * step.weight[o * n + i];
    y[o] = sum;
  }
  return { shape: [y.length], data: y };
}

/** y[k] = exp(x[k]) / sum of exp(x); less the maximum, so that nothing overflows */
function softmax(step, x) {
  const largest = Math.max(...x.data);
  const powers = Array.from(x.data, (v) => Math.exp(v - largest));
  const total = powers.reduce((sum, power) => sum + power, 0);
  return { shape: x.shape, data: Float32Array.from(powers, (power) => power / total) };
}

function each(x, f) {
  return { shape: x.shape, data: x.data.map((v) => f(v)) };
}

// --- the sliding window ---

/** Return [OH, OW] for an input of shape [C, H, W]. */
export function outputSize(step, [, H, W]) {
  return [outputLength(step, 0, H), outputLength(step, 1, W)];
}

function outputLength(step, axis, length) {
  const stride = step.stride[axis];
  const padding = step.padding[axis];
  const reach = dilation(step, axis) * (step.kernel_size[axis] - 1) + 1;
  const room = length + 2 * padding - reach;
  const steps = Math.floor(room / stride);
  // With ceil_mode a last window may hang over, but must begin before the padding behind the image.
  const hangsOver = step.ceil_mode && room % stride > 0 && (steps + 1) * stride < length + padding;
  return steps + 1 + (hangsOver ? 1 : 0);
}

function dilation(step, axis) {
  return step.dilation ? step.dilation[axis] : 1;
}

/** Return the row and column of the window's first tap; negative where it lies on the padding. */
function corner(step, oh, ow) {
  return {
    top: oh * step.stride[0] - step.padding[0],
    left: ow * step.stride[1] - step.padding[1],
  };
}

/** Return the taps of a window, row by row: where they are in x, and whether inside the image. */
export function windowTaps(step, [, H, W], c, oh, ow) {
  const { top, left } = corner(step, oh, ow);
  const taps = [];
  for (let kh = 0; kh < step.kernel_size[0]; kh++) {
    for (let kw = 0; kw < step.kernel_size[1]; kw++) {
      const row = top + kh * dilation(step, 0);
      const column = left + kw * dilation(step, 1);
      const inside = row >= 0 && row < H && column >= 0 && column < W;
      taps.push({ row, column, inside, index: (c * H + row) * W + column });
    }
  }
  return taps;
}

/** Return how many values a window averages: never what lies beyond the padding. */
export function divisor(step, [, H, W], oh, ow) {
  const { top, left } = corner(step, oh, ow);
  return covered(step, 0, top, H) * covered(step, 1, left, W);
}

function covered(step, axis, start, length) {
  const padding = step.count_include_pad ? step.padding[axis] : 0;
  const end = Math.min(start + step.kernel_size[axis], length + padding);
  return end - Math.max(start, -padding);
}
