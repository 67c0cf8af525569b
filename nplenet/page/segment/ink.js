// Which pixels are ink: what is darker than the paper round it, and narrower than a window.
//
// Paper, table and shadow have one thing in common: they are wide. So the paper at a pixel is the
// closing of the image, the darkest level that fills a whole window with that pixel in it. Strokes
// narrower than the window are gone from it, and edges between wide things stay where they are:
//
//     image    -----.  .----.  .---.                      closing  -------------------.
//                   |  |    |  |   |  shadow                                          |
//                   '--'    '--'   '---------                                         '---------
//                   strokes
//
// Brightness is proportional to the light: under half the light, paper and ink are both half as
// bright. So ink is measured by the fraction of the paper's brightness that it removes. Light ink is
// dark ink of the negative. No window suits all strokes, so WINDOWS are tried from narrow to wide;
// choose.js says which window shows a digit whole.

import { median as medianOf, percentiles } from "../numbers.js";
import { closed, cropped, dilated, median, noiseOf, padded, smoothed } from "./windows.js";

const { fround } = Math;

const WINDOWS = [13, 19, 27, 39, 57, 83, 121]; // pixels of an image of at most 640
export const WIDER = 4; // steps in WINDOWS: over four times as wide
const MIN_INK = fround(0.045); // fraction of the paper's brightness removed
const NOISE_LEVELS = 4; // standard deviations of noise that are not ink
const MIN_NOISE = 0.2; // levels of 255, below which an image is a drawing and needs no filter
const MUCH_NOISE = 1.5; // levels of 255, above which its pixels are averaged
const EDGE_REACH = 8; // pixels from the edge of a stroke to where it is darkest, at most
const HALF_OF_NOISY = 0.45; // the edge of a stroke is at half its contrast; noise makes holes there
const HALF_OF_SMALL = 0.35; // a stroke thinner than a pixel of a small image has less contrast
const BLURRED = 10; // times that an image is enlarged, above which there is no edge to lose
const MAX_BIAS = 60; // levels of 255 that noise and uneven light may take from the paper
const MIN_BRIGHT = 8; // levels of 255: darker paper is taken to be so bright

/**
 * Return the papers of an image of bytes that was enlarged by `scale`: an image in which ink is dark,
 * and its paper for each window.
 *
 * @returns {grey, clean, windows, levels, scale, noisy}: grey is the image, its noise averaged; clean
 *   the same without noise and without thin strokes; windows in pixels; levels the paper under the ink
 *   for each; scale how many times the image was enlarged, at least 1: its edges are so much softer;
 *   noisy whether it has noise, as no drawing has
 */
export function papersOf(grey, scale) {
  const noise = scale <= BLURRED ? noiseOf(grey) : 0;
  const noisy = noise > MIN_NOISE;
  const clean = noisy ? median(median(grey)) : grey;
  let level = { ...grey, data: new Float32Array(grey.data) };
  if (noise > MUCH_NOISE) level = smoothed(level);
  const longer = Math.max(grey.height, grey.width);
  const fitting = WINDOWS.filter((k) => 2 * scale <= k && k <= 1.2 * longer);
  const windows = fitting.length ? fitting : WINDOWS.slice(-1);
  const levels = windows.map((k) => paper(clean, k, scale > 1));
  return { grey: level, clean, windows, levels, scale, noisy };
}

/** Return whether two windows show the same paper, and so the same ink. */
export function same({ levels }, one, other) {
  const [a, b] = [levels[one].data, levels[other].data];
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/**
 * Return the closing of an image that is continued beyond its border.
 *
 * A digit often fills a small image, so that strokes end at its border: it is continued by paper, the
 * median of the border. A larger image is continued as it is there.
 */
function paper(clean, window, small) {
  const margin = window >> 1;
  const around = padded(clean, margin, margin, small ? Math.floor(medianOf(rimOf(clean))) : null);
  const wide = closed(around, window);
  return cropped(wide, margin, margin, clean.height, clean.width);
}

/**
 * Return the ink that window number `step` shows.
 *
 * A pixel is ink if it has about half the contrast of the strongest pixel near it: so the edge of a
 * stroke is found where it is, faint or dark, and a fainter line ends before a stroke it meets. What
 * the noise alone takes from the paper is measured over the whole image: the median is its bias,
 * because a closing is a maximum, and the 16th percentile is a standard deviation below. In a
 * drawing, and where ink covers half the image, there is none to speak of.
 *
 * @returns {mask, contrast, grey, paper}: 1 where there is ink; the fraction of the paper's brightness
 *   that is missing, 0 to 1; the levels of the image and of its paper, 0 to 255
 */
export function inkOf(papers, step) {
  const { grey, scale, noisy } = papers;
  const { height, width } = grey;
  const level = papers.levels[step].data;
  const bright = brightOf(level);
  const missing = difference(level, grey.data);
  let [low, bias] = [0, 0];
  if (noisy) [low, bias] = percentiles(everyThird(missing, height, width), [16, 50]);
  if (bias > MAX_BIAS) low = bias = 0;
  bias = Math.max(0, bias);
  const contrast = { ...grey, data: contrastOf(missing, fround(bias), bright) };
  // The bits of floats from 0 on are whole numbers in the same order.
  const bits = dilated({ ...grey, data: new Int32Array(contrast.data.buffer) }, 2 * EDGE_REACH + 1);
  const strongest = new Float32Array(bits.data.buffer);
  let half = noisy ? HALF_OF_NOISY : 0.5;
  if (scale > 1 && scale <= BLURRED) half = HALF_OF_SMALL;
  const noise = fround(NOISE_LEVELS * (bias - low));
  const mask = { ...grey, data: maskOf(contrast.data, strongest, bright, noise, fround(half)) };
  return { mask, contrast, grey, paper: { ...grey, data: bright } };
}

function brightOf(level) {
  const out = new Float32Array(level.length);
  for (let i = 0; i < out.length; i++) out[i] = Math.max(level[i], MIN_BRIGHT);
  return out;
}

function difference(one, other) {
  const out = new Float32Array(one.length);
  for (let i = 0; i < out.length; i++) out[i] = one[i] - other[i];
  return out;
}

function contrastOf(missing, bias, bright) {
  const out = new Float32Array(missing.length);
  for (let i = 0; i < out.length; i++)
    out[i] = Math.min(1, Math.max(0, fround(missing[i] - bias) / bright[i]));
  return out;
}

function maskOf(contrast, strongest, bright, noise, half) {
  const out = new Uint8Array(contrast.length);
  for (let i = 0; i < out.length; i++) {
    const floor = Math.max(MIN_INK, fround(noise / bright[i]));
    out[i] = contrast[i] > Math.max(floor, fround(half * strongest[i])) ? 1 : 0;
  }
  return out;
}

/** Return the pixels of the border, those of the corners twice. */
function rimOf({ data, height, width }) {
  const rows = [data.subarray(0, width), data.subarray(data.length - width)];
  const column = (x) => Array.from({ length: height }, (_, row) => data[row * width + x]);
  return [...rows[0], ...rows[1], ...column(0), ...column(width - 1)];
}

/** Return every third pixel of every third row. */
function everyThird(data, height, width) {
  const across = Math.ceil(width / 3);
  const values = new Float32Array(Math.ceil(height / 3) * across);
  for (let k = 0; k < values.length; k++)
    values[k] = data[3 * Math.floor(k / across) * width + 3 * (k % across)];
  return values;
}
