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
  GroupNorm: normalizeRows,
  LayerNorm: normalizeRows,
  AvgPool2d: averagePool,
  GlobalAvgPool2d: averageMaps,
  MaxPool2d: maxPool,
  Flatten: (step, x) => ({ shape: [x.data.length], data: x.data }),
  Dense: multiply,
  Dropout: (step, x) => x, // drops units in training only
  ReLU: (step, x) => each(x, (v) => Math.max(v, 0)),
  LeakyReLU: (step, x) => each(x, (v) => (v > 0 ? v : step.negative_slope * v)),
  Sigmoid: (step, x) => each(x, (v) => Math.exp(Math.min(v, 0)) / (1 + Math.exp(-Math.abs(v)))),
  Tanh: (step, x) => each(x, Math.tanh),
  GELU: (step, x) => each(x, (v) => v * below(step, v)),
  Softmax: softmax,
};

/**
 * y[f, oh, ow] = bias[f] + sum over c, kh, kw of weight[f, c, kh, kw] * x[c, row, column]
 *
 * A filter sees the channels of its own group, C of them.
 */
function convolve(step, x) {
  const [, H, W] = x.shape;
  const C = channelsOf(step);
  const [DH, DW] = [dilation(step, 0), dilation(step, 1)];
  const [KH, KW] = step.kernel_size;
  const [OH, OW] = outputSize(step, x.shape);
  const { weight, bias } = step;
  const y = new Float32Array(step.out_channels * OH * OW);
  for (let f = 0, i = 0; f < step.out_channels; f++) {
    for (let oh = 0; oh < OH; oh++) {
      for (let ow = 0; ow < OW; ow++, i++) {
        const { top, left } = corner(step, oh, ow);
        const [first, end] = tapsInside(left, DW, KW, W); // the padding is zero
        const [upper, lower] = tapsInside(top, DH, KH, H);
        let sum = bias ? bias[f] : 0;
        for (let c = 0; c < C; c++) {
          for (let kh = upper; kh < lower; kh++) {
            const pixels = ((firstChannel(step, f) + c) * H + top + kh * DH) * W + left;
            const kernel = ((f * C + c) * KH + kh) * KW;
            for (let kw = first; kw < end; kw++)
              sum += weight[kernel + kw] * x.data[pixels + kw * DW];
          }
        }
        y[i] = sum;
      }
    }
  }
  return { shape: [step.out_channels, OH, OW], data: y };
}

/** Return how many channels a filter sees. */
export function channelsOf(step) {
  return step.in_channels / (step.groups ?? 1);
}

/** Return the first channel that filter f sees. */
export function firstChannel(step, f) {
  const filters = step.out_channels / (step.groups ?? 1); // of a group
  return Math.floor(f / filters) * channelsOf(step);
}

/** Return the first tap that lies inside an image, and the one after the last. */
function tapsInside(start, distance, taps, length) {
  const first = Math.max(0, Math.ceil(-start / distance));
  return [first, Math.min(taps, Math.ceil((length - start) / distance))];
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

/** y = (x - mean) / sqrt(var + eps) * weight + bias, with the statistics of its row */
function normalizeRows(step, x) {
  const { length, scaleOf } = rowsOf(step, x.shape);
  const y = new Float32Array(x.data.length);
  for (let first = 0; first < y.length; first += length) {
    const { mean, variance } = statistics(x.data.subarray(first, first + length));
    const deviation = Math.sqrt(variance + step.eps);
    for (let i = first; i < first + length; i++) {
      const { weight, bias } = scaleOf(i);
      y[i] = ((x.data[i] - mean) / deviation) * weight + bias;
    }
  }
  return { shape: x.shape, data: y };
}

/** Return the length of the rows that are normalized, and what scales the value at a place. */
export function rowsOf(step, shape) {
  const size = shape.reduce((product, n) => product * n, 1);
  const isGroups = step.type === "GroupNorm";
  const length = isGroups
    ? size / step.num_groups
    : step.normalized_shape.reduce((product, n) => product * n, 1);
  const channel = size / shape[0]; // numbers of a channel
  const scaleOf = (i) => {
    const place = isGroups ? Math.floor(i / channel) : i % length;
    return { weight: step.weight?.[place] ?? 1, bias: step.bias?.[place] ?? 0 };
  };
  return { length, scaleOf };
}

/** Return mean and variance of values. */
export function statistics(values) {
  const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
  return { mean, variance: values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length };
}

/** y = mean of a map */
function averageMaps(step, x) {
  const length = x.data.length / x.shape[0];
  const mean = (c) => statistics(x.data.subarray(c * length, (c + 1) * length)).mean;
  return {
    shape: [x.shape[0]],
    data: Float32Array.from({ length: x.shape[0] }, (_, c) => mean(c)),
  };
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
  const y = new Float32Array(x.data.length);
  for (let i = 0; i < y.length; i++) {
    const values = sharing(step, x.shape, i).map((place) => x.data[place]);
    const largest = Math.max(...values);
    const total = values.reduce((sum, v) => sum + Math.exp(v - largest), 0);
    y[i] = Math.exp(x.data[i] - largest) / total;
  }
  return { shape: x.shape, data: y };
}

/** Return the places of the values that share a sum of 1 with the one at a place. */
export function sharing(step, shape, index) {
  const dim = step.dim ?? -1; // in Python's shape, which has a batch axis
  const axis = dim < 0 ? shape.length + dim : dim - 1;
  const stride = shape.slice(axis + 1).reduce((product, n) => product * n, 1);
  const first = index - (Math.floor(index / stride) % shape[axis]) * stride;
  return Array.from({ length: shape[axis] }, (_, k) => first + k * stride);
}

/** Return the probability that a standard normal number is below v; nplenet/layers/gelu.py says how. */
function below(step, v) {
  if (step.approximate === "tanh")
    return 0.5 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3)));
  const distance = Math.min(Math.abs(v) / Math.SQRT2, 30);
  const square = distance * distance;
  let sum = 0;
  for (let t = 0.25; t < 6; t += 0.5) sum += Math.exp(-t * t) / (square + t * t);
  const known = Math.exp(-4 * Math.PI * distance);
  const tail = (0.5 / Math.PI) * distance * Math.exp(-square) * sum + known / (1 + known);
  return v > 0 ? 1 - tail : tail;
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
