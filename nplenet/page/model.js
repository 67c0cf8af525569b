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
 * look like numbers. Chains and residual blocks nest; the list is flat. A step has its path
 * ("features.0"), type, arguments, tensors and the numbers of its inputs among the values of
 * runSteps: one, or two where the ways of a residual block meet.
 */
export function buildSteps(description, tensors) {
  const steps = [];
  append(steps, description, tensors, "", 0);
  return steps;
}

/** Append the steps of a layer whose input is the value number `from`; return its output's number. */
function append(steps, description, tensors, path, from) {
  const { type } = description;
  if (type === "Sequential") {
    for (const [name, layer] of description.layers)
      from = append(steps, layer, tensors, `${path}${name}.`, from);
    return from;
  }
  if (!(type in FORWARD)) throw new Error(`unknown layer ${type}`);
  const place = { path: path.slice(0, -1), inputs: [from] };
  if (type === "Residual") {
    const { body, shortcut } = description;
    const changed = append(steps, body, tensors, `${path}body.`, from);
    const passed = shortcut ? append(steps, shortcut, tensors, `${path}shortcut.`, from) : from;
    steps.push({ ...place, type, shortcut: Boolean(shortcut), inputs: [changed, passed] });
    return steps.length;
  }
  const own = Object.entries(tensors)
    .filter(([name]) => name.startsWith(path) && !name.slice(path.length).includes("."))
    .map(([name, tensor]) => [name.slice(path.length), tensor.data]);
  steps.push({ ...place, ...description, bias: null, ...Object.fromEntries(own) });
  return steps.length;
}

/** Return the values between the steps: the input, then the output of each step. */
export function runSteps(steps, input) {
  const values = [input];
  for (const step of steps)
    values.push(FORWARD[step.type](step, ...step.inputs.map((n) => values[n])));
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
  Residual: (step, x, other) => ({ shape: x.shape, data: x.data.map((v, i) => v + other.data[i]) }),
};

/**
 * sums[at + k] += weight * data[from + k * stride], for k from 0 to before count
 *
 * Convolutions, batch normalization, average pooling and dense layers make all their sums here. When
 * the page opens, the browser interprets its code, some twenty times slower than after compiling it,
 * and what it compiles first is a short function that is called often. This one is compiled during
 * the first layer, and all others use it; loops in functions of their own would each be slow at first.
 */
function addRow(sums, at, count, weight, data, from, stride) {
  for (const end = at + count; at < end; at++, from += stride) sums[at] += weight * data[from];
}

/** largest[at + k] = max(largest[at + k], data[from + k * stride]), for k from 0 to before count */
function raiseRow(largest, at, count, _, data, from, stride) {
  for (const end = at + count; at < end; at++, from += stride)
    largest[at] = Math.max(largest[at], data[from]);
}

/**
 * y[f, oh, ow] = bias[f] + sum over c, kh, kw of weight[f, c, kh, kw] * x[c, row, column]
 *
 * A filter sees the channels of its own group, C of them. Each weight is multiplied with all the
 * values that it meets as the kernel slides, row by row, before the next weight.
 */
function convolve(step, x) {
  const [, H, W] = x.shape;
  const C = channelsOf(step);
  const [OH, OW] = outputSize(step, x.shape);
  const taps = tapsOf(step, x.shape);
  const y = new Float32Array(step.out_channels * OH * OW);
  const sums = new Float64Array(OH * OW);
  for (let f = 0, i = 0; f < step.out_channels; f++) {
    sums.fill(step.bias ? step.bias[f] : 0);
    for (let c = 0; c < C; c++) {
      const map = (firstChannel(step, f) + c) * H * W;
      for (const tap of taps) slide(addRow, sums, tap, step.weight[i++], x.data, map);
    }
    y.set(sums, f * OH * OW);
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

/**
 * y = (x - mean) / sqrt(var + eps) * weight + bias, with the statistics that training left
 *
 * These are the same for all values of a channel, so that y = scale * x + shift.
 */
function normalize(step, x) {
  const length = x.data.length / x.shape[0]; // of a channel
  const y = new Float64Array(x.data.length);
  for (let c = 0, i = 0; c < x.shape[0]; c++, i += length) {
    const scale = step.weight[c] / Math.sqrt(step.running_var[c] + step.eps);
    const shift = step.bias[c] - step.running_mean[c] * scale;
    y.fill(shift, i, i + length);
    addRow(y, i, length, scale, x.data, i, 1);
  }
  return { shape: x.shape, data: new Float32Array(y) };
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
  const { shape, data } = pool(step, x, addRow, 0);
  const [, OH, OW] = shape;
  const divisors = Float64Array.from({ length: OH * OW }, (_, i) =>
    divisor(step, x.shape, Math.floor(i / OW), i % OW),
  );
  const average = (sum, i) => sum / divisors[i % divisors.length]; // the same in all channels
  return { shape, data: new Float32Array(data.map(average)) };
}

/** y = max of x over the window; NaN wins, as in Python */
function maxPool(step, x) {
  const { shape, data } = pool(step, x, raiseRow, -Infinity);
  return { shape, data: new Float32Array(data) };
}

/** Combine the values of each window that lie inside, from a start on. */
function pool(step, x, combine, start) {
  const [C, H, W] = x.shape;
  const shape = [C, ...outputSize(step, x.shape)];
  const size = shape[1] * shape[2];
  const taps = tapsOf(step, x.shape);
  const y = new Float64Array(C * size).fill(start);
  for (let c = 0; c < C; c++) {
    const results = y.subarray(c * size, (c + 1) * size);
    for (const tap of taps) slide(combine, results, tap, 1, x.data, c * H * W);
  }
  return { shape, data: y };
}

/** y[o] = bias[o] + sum over i of x[i] * weight[o, i]; each x[i] is multiplied with a column */
function multiply(step, x) {
  const n = step.in_features;
  const y = new Float64Array(step.out_features);
  if (step.bias) y.set(step.bias);
  for (let i = 0; i < n; i++) addRow(y, 0, y.length, x.data[i], step.weight, i, n);
  return { shape: [y.length], data: new Float32Array(y) };
}

/**
 * y[k] = exp(x[k] / T) / sum of exp(x / T); less the maximum, so that nothing overflows
 *
 * T, the temperature, is the model's own, or 1 without one, unless the reader of the page changes it.
 */
function softmax(step, x) {
  const temperature = step.temperature ?? 1;
  const z = x.data.map((v) => v / temperature);
  const y = new Float32Array(z.length);
  for (let i = 0; i < y.length; i++) {
    const values = sharing(step, x.shape, i).map((place) => z[place]);
    const largest = Math.max(...values);
    const total = values.reduce((sum, v) => sum + Math.exp(v - largest), 0);
    y[i] = Math.exp(z[i] - largest) / total;
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

/**
 * Return for each tap of the window, row by row, which values it meets as the window slides over a map.
 *
 * They are `rows` rows of `columns` values; the first is at `from` in the map and belongs to the
 * output `at`. The next value of a row is `across` further, the next row `down`; in the output, the
 * next row is `width` further. What lies on the padding is left out.
 */
function tapsOf(step, shape) {
  const [, H, W] = shape;
  const [OH, OW] = outputSize(step, shape);
  const taps = [];
  for (let kh = 0; kh < step.kernel_size[0]; kh++) {
    const y = outputsInside(step, 0, kh, H, OH);
    for (let kw = 0; kw < step.kernel_size[1]; kw++) {
      const x = outputsInside(step, 1, kw, W, OW);
      taps.push({
        rows: y.count,
        columns: x.count,
        from: y.start * W + x.start,
        across: step.stride[1],
        down: step.stride[0] * W,
        at: y.first * OW + x.first,
        width: OW,
      });
    }
  }
  return taps;
}

/** Return the first output for which a tap lies inside, for how many it does, and where at first. */
function outputsInside(step, axis, tap, length, outputs) {
  const stride = step.stride[axis];
  const start = tap * dilation(step, axis) - step.padding[axis];
  const first = Math.max(0, Math.ceil(-start / stride));
  const end = Math.min(outputs, Math.ceil((length - start) / stride));
  return { first, count: end - first, start: start + first * stride };
}

/** Combine all values that a tap meets in a map, which begins at `map` in data, with results. */
function slide(combine, results, tap, weight, data, map) {
  const { rows, columns, width, across, down } = tap;
  for (let row = 0; row < rows; row++) {
    const at = tap.at + row * width;
    combine(results, at, columns, weight, data, map + tap.from + row * down, across);
  }
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
