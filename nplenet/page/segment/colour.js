// From a picture to the grey image in which ink is looked for, at a size that suits strokes.
//
// A picture is {channels, height, width}: one channel or three, each an array of height * width.

import { roundEven } from "../numbers.js";
import { bicubic, bilinear, resized } from "../resample.js";
import { dilated, eroded } from "./windows.js";

const { fround } = Math;

const MAX_SIDE = 640; // pixels of the analysed image: a digit of 1/20 of its height has 25 rows
const SMALL = 96; // pixels of the longer side, below which an image is enlarged
const ENLARGED = 160; // to this many pixels, about
const MIN_BLOCK = 3; // pixels of the side of a pixel enlarged
const MIN_BLOCKS = 8; // pixels enlarged along the longer side
const LUMA = [0.299, 0.587, 0.114]; // as Pillow's grey
const DIFFERENT = 8; // levels of 255 between a pixel and its surroundings that count
const MIN_SHARE = 0.2; // of the contrast in colour, that grey must have to be used
const ROTATIONS = 30; // of a matrix of 3x3, after which it is diagonal to the last bit

/**
 * Return a picture of floats with a longer side of 96 to 640 pixels, and the scale.
 *
 * A small image is enlarged by a whole factor, so that strokes are more than two pixels wide.
 */
export function atWorkingSize({ channels, height, width }) {
  const longer = Math.max(height, width);
  const scale = longer < SMALL ? Math.ceil(ENLARGED / longer) : Math.min(1, MAX_SIDE / longer);
  const sides = [height, width].map((side) => Math.max(1, roundEven(side * scale)));
  const floats = channels.map((channel) => ({ data: new Float32Array(channel), height, width }));
  if (sides[0] === height && sides[1] === width)
    return { image: { channels: floats.map(({ data }) => data), height, width }, scale: 1 };
  const kind = scale > 1 ? bicubic : bilinear;
  const found = floats.map((channel) => resized(channel, ...sides, kind).data);
  if (scale > 1) found.forEach((levels, c) => clip(levels, channels[c], height, width, scale));
  return { image: { channels: found, height: sides[0], width: sides[1] }, scale };
}

/** Keep within the levels around each pixel: a cubic goes beyond, and would draw light around ink. */
function clip(levels, channel, height, width, scale) {
  const image = { data: channel, height, width };
  const [low, high] = [eroded(image, 3).data, dilated(image, 3).data];
  for (let i = 0; i < levels.length; i++) {
    const [row, column] = [Math.floor(i / (width * scale)), i % (width * scale)];
    const from = Math.floor(row / scale) * width + Math.floor(column / scale);
    levels[i] = Math.min(high[from], Math.max(low[from], levels[i]));
  }
}

/**
 * Return the side of the squares to which single pixels were enlarged, 1 if there are none.
 *
 * Rows and columns of such a picture change at multiples of that side only.
 */
export function blockOf({ channels, height, width }) {
  let side = 0; // where nothing changes
  const same = (i, j) => channels.every((channel) => channel[i] === channel[j]);
  for (let row = 1; row < height && side !== 1; row++) {
    for (let column = 0; column < width; column++) {
      if (same(row * width + column, (row - 1) * width + column)) continue;
      side = divisor(side, row);
      break;
    }
  }
  for (let column = 1; column < width && side !== 1; column++) {
    for (let row = 0; row < height; row++) {
      if (same(row * width + column, row * width + column - 1)) continue;
      side = divisor(side, column);
      break;
    }
  }
  return side >= MIN_BLOCK && Math.max(height, width) >= MIN_BLOCKS * side ? side : 1;
}

/** Return the greatest common divisor (Euclid). */
function divisor(a, b) {
  return b === 0 ? a : divisor(b, a % b);
}

/** Return every `step`-th pixel of every `step`-th row. */
export function everyPixel(picture, step) {
  if (step === 1) return picture;
  const [height, width] = [picture.height, picture.width].map((side) => Math.ceil(side / step));
  const channels = picture.channels.map((channel) => {
    const few = new Uint8Array(height * width);
    for (let i = 0; i < few.length; i++)
      few[i] = channel[step * (Math.floor(i / width) * picture.width + (i % width))];
    return few;
  });
  return { channels, height, width };
}

/**
 * Return a picture as an image of grey levels, bytes, in which ink stands out.
 *
 * That is its luma, unless the colours differ much more than luma does, such as red ink on green
 * paper: then it is the direction in the space of colours along which pixels differ most from their
 * surroundings, the first principal component.
 */
export function greyOf({ channels, height, width }) {
  const image = (data) => ({ data, height, width });
  if (channels.length === 1) return image(Uint8Array.from(channels[0], roundEven));
  const matrix = differences({ channels, height, width });
  let axis = LUMA;
  if (matrix) {
    const { variance, direction } = principal(matrix);
    const luma = quadratic(matrix, LUMA) / dot(LUMA, LUMA);
    const sign = Math.sign(dot(direction, LUMA) || 1);
    if (luma < MIN_SHARE * variance) axis = direction.map((v) => v * sign);
  }
  let level = along(channels, axis);
  if (axis !== LUMA) {
    const low = level.reduce((least, v) => Math.min(least, v), Infinity);
    const high = level.reduce((largest, v) => Math.max(largest, v), -Infinity);
    const stretch = fround(255 / Math.max(fround(high - low), 1));
    level = level.map((v) => fround(v - low) * stretch);
  }
  const bytes = new Uint8Array(level.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Math.min(255, Math.max(0, roundEven(level[i])));
  return image(bytes);
}

/** Return the sums of products of what pixels differ from their surroundings: 3x3, or null of none. */
function differences({ channels, height, width }) {
  const cells = [Math.max(1, Math.floor(height / 32)), Math.max(1, Math.floor(width / 32))];
  const around = channels.map(
    (data) => resized(resized({ data, height, width }, ...cells), height, width).data,
  );
  const sums = [0, 1, 2].map(() => [0, 0, 0]);
  let any = false;
  const of = (c, i) => fround(channels[c][i] - around[c][i]);
  for (let i = 0; i < height * width; i++) {
    const d = [of(0, i), of(1, i), of(2, i)];
    if (Math.max(Math.abs(d[0]), Math.abs(d[1]), Math.abs(d[2])) <= DIFFERENT) continue;
    any = true;
    for (let r = 0; r < 3; r++) for (let c = 0; c < 3; c++) sums[r][c] += d[r] * d[c];
  }
  return any ? sums : null;
}

function along(channels, axis) {
  const [red, green, blue] = channels;
  const [r, g, b] = axis.map(fround);
  const level = new Float32Array(red.length);
  for (let i = 0; i < level.length; i++)
    level[i] = fround(fround(r * red[i]) + fround(g * green[i])) + fround(b * blue[i]);
  return level;
}

/** Return the largest eigenvalue of a symmetric matrix and its unit eigenvector (Jacobi, 1846). */
function principal(matrix) {
  const a = matrix.map((row) => [...row]);
  const vectors = [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ];
  for (let n = 0; n < ROTATIONS; n++) {
    const [p, q] = [
      [0, 1],
      [0, 2],
      [1, 2],
    ][n % 3];
    const angle = 0.5 * Math.atan2(2 * a[p][q], a[q][q] - a[p][p]);
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    const turn = (row) => {
      [row[p], row[q]] = [cos * row[p] - sin * row[q], sin * row[p] + cos * row[q]];
    };
    for (const row of a) turn(row);
    const [rowP, rowQ] = [a[p], a[q]];
    a[p] = rowP.map((v, k) => cos * v - sin * rowQ[k]);
    a[q] = rowP.map((v, k) => sin * v + cos * rowQ[k]);
    for (const row of vectors) turn(row);
  }
  const values = [a[0][0], a[1][1], a[2][2]];
  const k = values.indexOf(Math.max(...values));
  return { variance: values[k], direction: vectors.map((row) => row[k]) };
}

function quadratic(matrix, vector) {
  return dot(
    matrix.map((row) => dot(row, vector)),
    vector,
  );
}

function dot(a, b) {
  return a.reduce((sum, v, i) => sum + v * b[i], 0);
}
