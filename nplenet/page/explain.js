// The arithmetic of one value: which numbers it was made of, and how.
//
// Maps, rows, columns and units are counted from 0, as in the arrays.

import { bar, curve, EQUALS, formula, frac, grid, mi, mn, mo, mtext, note } from "./markup.js";
import { number, plain, power, root, signed, sub, total } from "./markup.js";
import { channelsOf, divisor, firstChannel, outputSize, windowTaps } from "./model.js";
import { rowsOf, sharing, statistics } from "./model.js";

const STRONGEST = 8; // inputs of a dense unit that are listed

/** Name the place of a value: "map 2, row 13, column 8" or "unit 41". */
export function placeOf(shape, index) {
  if (shape.length === 1) return `unit ${index}`;
  const [map, ...rest] = unravel(index, shape);
  if (rest.length === 1) return `map ${map}, position ${rest[0]}`;
  return `map ${map}, row ${rest[0]}, column ${rest[1]}`;
}

/**
 * Explain a value of the tensor number k: 0 is the image, k the output of step k - 1.
 *
 * @returns {{html, summary, sources}} html shows the arithmetic and summary says it in words;
 *   sources are lists of places in the step's inputs, each of which is framed there
 */
export function explain(steps, values, k, index) {
  const value = values[k].data[index];
  if (k === 0) return explainPixel(value, values[0]);
  const step = steps[k - 1];
  const [x, other] = step.inputs.map((n) => values[n]);
  const more = step.type === "Dense" ? shapeBeforeFlatten(steps, values, step) : other;
  return EXPLAIN[step.type](step, x, index, value, more);
}

const EXPLAIN = {
  Conv2d: explainConvolution,
  BatchNorm1d: explainNormalization,
  BatchNorm2d: explainNormalization,
  GroupNorm: explainRow,
  LayerNorm: explainRow,
  AvgPool2d: explainAverage,
  GlobalAvgPool2d: explainMap,
  MaxPool2d: explainMaximum,
  Flatten: explainFlatten,
  Dense: explainDense,
  Dropout: explainDropout,
  ReLU: explainActivation,
  LeakyReLU: explainActivation,
  Sigmoid: explainActivation,
  Tanh: explainActivation,
  GELU: explainActivation,
  Softmax: explainSoftmax,
  Residual: explainAddition,
};

function explainPixel(value, { mean, std }) {
  const byte = Math.round(255 * (value * std + mean));
  const share = frac(plain(byte), plain(255));
  const isPlain = mean === 0 && std === 1; // otherwise the network wants pixels normalised
  const pixel = isPlain ? share : frac(`${share} ${signed(-mean)}`, mn(std));
  return {
    html: formula(pixel, EQUALS, total(value)),
    summary: `Ink ${byte} of 255${isPlain ? "" : `, normalised ${number(value)}`}.`,
    sources: [],
  };
}

function explainConvolution(step, x, index, value) {
  const [f, oh, ow] = unravel(index, [step.out_channels, ...outputSize(step, x.shape)]);
  const size = step.kernel_size[0] * step.kernel_size[1];
  const channels = range(channelsOf(step)).map((own) => {
    const c = firstChannel(step, f) + own;
    const taps = windowTaps(step, x.shape, c, oh, ow);
    const window = valuesAt(x, taps);
    const start = (f * channelsOf(step) + own) * size;
    const kernel = Array.from(step.weight.subarray(start, start + size));
    const products = window.map((v, i) => v * kernel[i]);
    return { c, taps, window, kernel, products, sum: sumOf(products) };
  });
  const sum = sumOf(channels.map((channel) => channel.sum));
  const bias = step.bias ? step.bias[f] : 0;
  return {
    ...explainSum(size * channels.length, sum, bias, value, convolutionGrids(step, channels)),
    sources: channels.map(({ taps }) => placesInside(taps)),
  };
}

/** Explain a sum of products plus a bias; details are shown below it. */
function explainSum(count, sum, bias, value, details) {
  return {
    html:
      formula(mtext(`sum of ${count} products`), mo("+"), mtext("bias")) +
      formula(EQUALS, mn(sum), signed(bias), EQUALS, total(value)) +
      details,
    summary:
      `The sum of ${count} products, ${number(sum)}, ` +
      `plus bias ${number(bias)} is ${number(value)}.`,
  };
}

/** Show window, kernel and products: of all input maps, the one that contributes most unfolded. */
function convolutionGrids(step, channels) {
  const draw = (title, key, channel, options) => {
    const scale = largestOf(channels.flatMap((other) => other[key]));
    return grid(title, channel[key], step.kernel_size, scale, options);
  };
  const grids = (channel) =>
    `<div class="grids">${draw("window", "window", channel, { taps: channel.taps })}` +
    `${draw("× kernel", "kernel", channel)}${draw("= products", "products", channel)}` +
    `<p class="sum">their sum<b>${number(channel.sum)}</b></p></div>`;
  if (channels.length === 1) return grids(channels[0]);
  const largest = largestOf(channels.map((channel) => channel.sum));
  const strongest = channels.find((channel) => Math.abs(channel.sum) === largest);
  return channels
    .map((channel) => {
      const open = channel === strongest ? "open" : "";
      const bars = `${bar(channel.sum, largest)} <b>${number(channel.sum)}</b>`;
      return (
        `<details name="channel" ${open}><summary>input map ${channel.c} ${bars}</summary>` +
        `${grids(channel)}</details>`
      );
    })
    .join("");
}

function explainNormalization(step, x, index, value) {
  const c = Math.floor(index / (x.data.length / x.shape[0]));
  const numbers = { mean: step.running_mean[c], variance: step.running_var[c] };
  const scale = { weight: step.weight[c], bias: step.bias[c] };
  const measured = "mean and var were measured in training; γ and β were learned.";
  return explainNormal(step, x.data[index], numbers, scale, value, measured, index);
}

function explainRow(step, x, index, value) {
  const { length, scaleOf } = rowsOf(step, x.shape);
  const first = Math.floor(index / length) * length;
  const numbers = statistics(x.data.subarray(first, first + length));
  const measured = `mean and var are those of ${length} values of this image; γ and β were learned.`;
  return explainNormal(step, x.data[index], numbers, scaleOf(index), value, measured, index);
}

function explainNormal(step, v, { mean, variance }, { weight, bias }, value, measured, index) {
  const deviation = Math.sqrt(variance + step.eps);
  const times = mo("·");
  return {
    html:
      formula(
        frac(
          `${mi("x")} ${mo("−")} ${mtext("mean")}`,
          root(`${mtext("var")} ${mo("+")} ${mi("ε")}`),
        ),
        times,
        `${mi("γ")} ${mo("+")} ${mi("β")}`,
      ) +
      formula(
        EQUALS,
        frac(`${mn(v)} ${signed(-mean)}`, root(`${mn(variance)} ${mo("+")} ${plain(step.eps)}`)),
        times,
        `${mn(weight)} ${signed(bias)}`,
      ) +
      formula(
        EQUALS,
        mn((v - mean) / deviation),
        times,
        mn(weight),
        signed(bias),
        EQUALS,
        total(value),
      ) +
      note(measured),
    summary:
      `${number(v)} less the mean ${number(mean)}, over the deviation ${number(deviation)}, ` +
      `times ${number(weight)}, plus ${number(bias)} is ${number(value)}.`,
    sources: [[index]],
  };
}

function explainAverage(step, x, index, value) {
  const { oh, ow, window, shown, sources } = poolingWindow(step, x, index);
  const [sum, size] = [sumOf(window), divisor(step, x.shape, oh, ow)];
  return {
    html:
      formula(frac(mtext("sum of the window"), mtext("its size"))) +
      formula(EQUALS, frac(mn(sum), plain(size)), EQUALS, total(value)) +
      shown(),
    summary: `The window's sum ${number(sum)} over ${size} is ${number(value)}.`,
    sources,
  };
}

function explainMap(step, x, index, value) {
  const length = x.data.length / x.shape[0];
  const places = range(length).map((i) => index * length + i);
  const sum = sumOf(places.map((place) => x.data[place]));
  return {
    html:
      formula(frac(mtext("sum of the map"), mtext("its size"))) +
      formula(EQUALS, frac(mn(sum), plain(length)), EQUALS, total(value)),
    summary: `The map's sum ${number(sum)} over ${length} is ${number(value)}.`,
    sources: [places],
  };
}

function explainMaximum(step, x, index, value) {
  const { taps, window, shown, sources } = poolingWindow(step, x, index);
  const winner = taps.findIndex((tap, i) => tap.inside && window[i] === value);
  return {
    html: formula(mtext("largest of the window"), EQUALS, total(value)) + shown(winner),
    summary: `The largest of the window's values is ${number(value)}.`,
    sources,
  };
}

/** Return what both poolings show: the window of an output, its values and their picture. */
function poolingWindow(step, x, index) {
  const [c, oh, ow] = unravel(index, [x.shape[0], ...outputSize(step, x.shape)]);
  const taps = windowTaps(step, x.shape, c, oh, ow);
  const window = valuesAt(x, taps);
  const shown = (winner) => {
    const scale = largestOf(window);
    const picture = grid("window", window, step.kernel_size, scale, { taps, winner });
    return `<div class="grids">${picture}</div>`;
  };
  return { oh, ow, taps, window, shown, sources: [placesInside(taps)] };
}

function explainFlatten(step, x, index, value) {
  const place = placeOf(x.shape, index);
  return {
    html: formula(mtext(place), EQUALS, total(value)),
    summary: `Unit ${index} is ${place}: ${number(value)}.`,
    sources: [[index]],
  };
}

function explainDropout(step, x, index, value) {
  return {
    html:
      formula(mi("y"), EQUALS, mi("x"), EQUALS, total(value)) +
      note(`In training: 0 with probability ${step.p}, otherwise x / (1 − ${step.p}).`),
    summary: `It passes unchanged: ${number(value)}.`,
    sources: [[index]],
  };
}

function explainActivation(step, x, index, value) {
  const v = x.data[index];
  const call = (name, inside) => `${mi(name)} ${mo("(")} ${inside} ${mo(")")}`;
  const rules = {
    ReLU: (z) => call("max", `${z} ${mo(",")} ${plain(0)}`),
    LeakyReLU: (z) => (v > 0 ? z : `${z} ${mo("·")} ${plain(Number(step.negative_slope))}`),
    Sigmoid: (z, minus) => frac(plain(1), `${plain(1)} ${mo("+")} ${power("e", minus)}`),
    Tanh: (z) => call("tanh", z),
    GELU: (z) => `${z} ${mo("·")} ${mtext("share of normal numbers below")} ${z}`,
  };
  const rule = rules[step.type];
  return {
    html:
      formula(mi("y"), EQUALS, rule(mi("x"), `${mo("−")} ${mi("x")}`)) +
      formula(EQUALS, rule(mn(v), mn(-v)), EQUALS, total(value)) +
      curve(step, v, value),
    summary: `${step.type} of ${number(v)} is ${number(value)}.`,
    sources: [[index]],
  };
}

function explainDense(step, x, index, value, shape) {
  const n = step.in_features;
  const terms = range(n).map((i) => {
    const weight = step.weight[index * n + i];
    return { i, v: x.data[i], weight, product: x.data[i] * weight };
  });
  const sum = sumOf(terms.map((term) => term.product));
  terms.sort((a, b) => Math.abs(b.product) - Math.abs(a.product));
  const table = termsTable(terms.slice(0, STRONGEST), terms.slice(STRONGEST), shape);
  return {
    ...explainSum(n, sum, step.bias ? step.bias[index] : 0, value, table),
    sources: terms.slice(0, STRONGEST).map((term) => [term.i]),
  };
}

function termsTable(strongest, others, shape) {
  const cells = (texts) => texts.map((text) => `<td>${text}</td>`).join("");
  const largest = largestOf(strongest.map((term) => term.product));
  const rows = strongest.map(({ i, v, weight, product }) => {
    const numbers = [
      number(v),
      number(weight),
      `<b>${number(product)}</b>${bar(product, largest)}`,
    ];
    return `<tr><th scope="row">${unravel(i, shape).join(", ")}</th>${cells(numbers)}</tr>`;
  });
  if (others.length) {
    const rest = `<b>${number(sumOf(others.map((term) => term.product)))}</b>`;
    rows.push(`<tr><th scope="row">the other ${others.length}</th>${cells(["", "", rest])}</tr>`);
  }
  const titles = [
    shape.length === 3 ? "map, row, column" : "unit",
    "value",
    "× weight",
    "= product",
  ];
  const head = titles.map((title) => `<th scope="col">${title}</th>`).join("");
  return (
    `<table class="terms"><caption>Strongest inputs</caption>` +
    `<thead><tr>${head}</tr></thead><tbody>${rows.join("")}</tbody></table>`
  );
}

function explainSoftmax(step, x, index, value) {
  const temperature = step.temperature ?? 1;
  const places = sharing(step, x.shape, index);
  const outputs = places.map((place) => x.data[place]);
  const largest = Math.max(...outputs); // is subtracted, so that no exponential overflows
  const sum = sumOf(outputs.map((z) => Math.exp((z - largest) / temperature)));
  const cooled = (z, letter) => (temperature === 1 ? z : frac(z, letter));
  const letter = (k) =>
    power("e", cooled(`${sub(mi("z"), k)} ${mo("−")} ${mtext("max")}`, mi("T")));
  const own = `${mn(x.data[index])} ${signed(-largest)}`;
  const share = frac(power("e", cooled(own, plain(temperature))), mn(sum));
  return {
    html:
      formula(frac(letter(plain(places.indexOf(index))), `${mo("∑")} ${letter(mi("k"))}`)) +
      formula(EQUALS, share, EQUALS, total(value)) +
      note("max is the largest output; less it, no exponential is too large for a number."),
    summary:
      `The exponential of ${number(x.data[index] / temperature)}, ` +
      `as a share of the sum of all, is ${number(value)}.`,
    sources: [[index]],
  };
}

function explainAddition(step, x, index, value, other) {
  const [changed, passed] = [x.data[index], other.data[index]];
  return {
    html:
      formula(mtext("body"), mo("+"), mtext(step.shortcut ? "shortcut" : "input of the block")) +
      formula(EQUALS, mn(changed), signed(passed), EQUALS, total(value)),
    summary: `${number(changed)} plus ${number(passed)} is ${number(value)}.`,
    sources: [[index]],
  };
}

/** Return the shape that names a dense layer's inputs: of the maps, if they were only flattened. */
function shapeBeforeFlatten(steps, values, dense) {
  for (let k = dense.inputs[0]; k > 0; k = steps[k - 1].inputs[0]) {
    if (steps[k - 1].type === "Dense") break;
    if (steps[k - 1].type === "Flatten") return values[steps[k - 1].inputs[0]].shape;
  }
  return values[dense.inputs[0]].shape;
}

// --- places and sums ---

/** Return the position along each axis of the value at a place in the data. */
function unravel(index, shape) {
  const position = [];
  for (const length of shape.toReversed()) {
    position.unshift(index % length);
    index = Math.floor(index / length);
  }
  return position;
}

function valuesAt(x, taps) {
  return taps.map((tap) => (tap.inside ? x.data[tap.index] : 0));
}

function placesInside(taps) {
  return taps.filter((tap) => tap.inside).map((tap) => tap.index);
}

function range(n) {
  return Array.from({ length: n }, (_, i) => i);
}

function sumOf(values) {
  return values.reduce((sum, v) => sum + v, 0);
}

function largestOf(values) {
  return Math.max(...values.map(Math.abs), 1e-12);
}
