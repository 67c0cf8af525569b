// From a photo to its ink: what nplenet/recognize.py does before it looks for digits.
//
// Brightness is proportional to the light: under half the light, paper and ink are both half as
// bright. So the paper is fitted first, and ink is the share of the paper's brightness that it takes.

import { findParts, withoutCut, withoutSpecks } from "./parts.js";
import { resize, threshold } from "./prepare.js";

const PAPER_GRID = 32; // the paper is fitted to 32 x 32 averages, in which thin strokes nearly vanish
const PAPER_NOISE = 10; // grey levels of 255 between the paper and the surface fitted to it
const MIN_INK = 0.08; // share of the paper's brightness that ink takes; noise alone reached 0.05
const ROUNDS = 10; // of reweighting; the surface changes no more after five

/**
 * Find the ink of the digits in a photo: dark on light or light on dark, evenly lit or not.
 *
 * @param grey (height * width) numbers of 0 to 255
 * @returns Uint8Array (height * width), 255 where a digit's ink is; null where there is none
 */
export function inkOfPhoto(grey, height, width) {
  const mask = inkMask({ data: Float64Array.from(grey), height, width });
  const parts = mask ? withoutSpecks(withoutCut(findParts(mask), height, width)) : [];
  if (!parts.length) return null;
  const ink = new Uint8Array(height * width);
  for (const { pixels } of parts) {
    for (const pixel of pixels) ink[pixel] = 255;
  }
  return ink;
}

/** Return 1 where a pixel takes more of the paper's brightness than Otsu's threshold, or null. */
function inkMask(grey) {
  const paper = fitPaper(grey);
  const skew = grey.data.reduce((sum, v, i) => sum + (v - paper[i]) ** 3, 0);
  const isLight = skew > 0; // light ink on dark paper is inverted
  const darkness = grey.data.map((v, i) => {
    const under = isLight ? 255 - paper[i] : paper[i];
    const taken = isLight ? v - paper[i] : paper[i] - v;
    return Math.min(1, Math.max(0, taken / Math.max(under, 1)));
  });
  const bins = Uint8Array.from(darkness, (v) => Math.min(255, Math.floor(256 * v)));
  const level = threshold(bins);
  const ink = darkness.filter((_, i) => bins[i] > level);
  const mean = ink.reduce((sum, v) => sum + v, 0) / ink.length;
  if (!(mean >= MIN_INK)) return null; // NaN where there is no ink
  return { ...grey, data: bins.map((v) => (v > level ? 1 : 0)) };
}

/**
 * Return the brightness of the paper in every pixel, also beneath the ink.
 *
 * A surface is fitted by reweighted least squares (Holland & Welsch, 1977), first linear, then
 * quadratic in x and in y. Ink is far from it, so its weight is close to zero (Cauchy's weights).
 * The rim, where ink is rare, has ten times the weight of the inside.
 */
function fitPaper(grey) {
  const values = resize(grey, PAPER_GRID, PAPER_GRID).data;
  const along = linspace(PAPER_GRID);
  const points = Array.from(values, (_, i) => [
    along[Math.floor(i / PAPER_GRID)],
    along[i % PAPER_GRID],
  ]);
  const isRim = points.map(([y, x]) => Math.max(Math.abs(y), Math.abs(x)) === 1);
  const middle = median(values.filter((_, i) => isRim[i]));
  let error = values.map((v) => Math.abs(v - middle));
  let coefficients;
  for (const degree of [1, 2]) {
    const terms = points.map(([y, x]) => products(powers(y, degree), powers(x, degree)));
    for (let round = 0; round < ROUNDS; round++) {
      const weights = error.map((e, i) => (isRim[i] ? 1 : 0.1) / (1 + (e / PAPER_NOISE) ** 2));
      coefficients = leastSquares(terms, values, weights);
      error = values.map((v, i) => Math.abs(v - dot(terms[i], coefficients)));
    }
  }
  return surface(coefficients, grey.height, grey.width);
}

/** Return the fitted polynomial in every pixel. */
function surface(coefficients, height, width) {
  const columns = linspace(width).map((x) => powers(x, 2));
  const out = new Float64Array(height * width);
  linspace(height).forEach((y, row) => {
    const down = powers(y, 2);
    columns.forEach((across, column) => {
      out[row * width + column] = dot(products(down, across), coefficients);
    });
  });
  return out;
}

/** Return what makes sum of weights * (values - terms @ c)^2 smallest: Gauss, with pivots. */
function leastSquares(terms, values, weights) {
  const n = terms[0].length;
  const rows = Array.from({ length: n }, () => new Float64Array(n + 1));
  terms.forEach((term, i) => {
    for (let r = 0; r < n; r++) {
      const weighted = weights[i] * term[r];
      for (let c = 0; c < n; c++) rows[r][c] += weighted * term[c];
      rows[r][n] += weighted * values[i];
    }
  });
  for (let pivot = 0; pivot < n; pivot++) {
    const rest = rows.slice(pivot);
    const best = rest.reduce((a, b) => (Math.abs(b[pivot]) > Math.abs(a[pivot]) ? b : a));
    const at = rows.indexOf(best);
    [rows[pivot], rows[at]] = [rows[at], rows[pivot]];
    for (let r = 0; r < n; r++) {
      if (r === pivot) continue;
      const factor = rows[r][pivot] / rows[pivot][pivot];
      for (let c = pivot; c <= n; c++) rows[r][c] -= factor * rows[pivot][c];
    }
  }
  return rows.map((row, r) => row[n] / row[r]);
}

/** Return n numbers from -1 to 1. */
function linspace(n) {
  return Array.from({ length: n }, (_, i) => (n === 1 ? -1 : (2 * i) / (n - 1) - 1));
}

function powers(v, degree) {
  return Array.from({ length: degree + 1 }, (_, k) => v ** k);
}

function products(a, b) {
  return a.flatMap((v) => b.map((w) => v * w));
}

function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

function median(values) {
  const sorted = values.toSorted();
  const half = sorted.length / 2;
  return (sorted[Math.floor(half - 0.5)] + sorted[Math.floor(half)]) / 2;
}
