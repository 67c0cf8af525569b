// From a drawing to its digits in MNIST's form: what nplenet/segment/form.py does to a photograph.
//
// What only a photograph needs is left out: to shrink it, and to search for its paper (paper.js has a
// simple form of that). The rest is the same, number by number. An image is {data, height, width}, data in row-major order.

import { groupDigits } from "./parts.js";

const SIDE = 28; // of MNIST's images; the digit's longer side takes 20 of them
const BORDER = 2; // round it, to the 32 of LeNet-5
const SCALE = 4; // pixels to one of MNIST's; strokes and centre are right to a quarter of one
const MIN_STROKE = 2; // pixels of MNIST
const MIN_ASPECT = 0.45; // width / height; in MNIST hardly any digit except 1 is narrower

/**
 * Bring the first digit of a drawing into MNIST's form.
 *
 * @param ink Uint8Array (height * width), 0 where there is paper to 255 where there is ink
 * @returns Uint8Array (32 * 32), ink 255; null where there is no digit
 */
export function prepare(ink, height, width) {
  return findDigits(ink, height, width)[0]?.image ?? null;
}

/**
 * Find the digits of a drawing, in reading order: line by line, each from left to right.
 *
 * @param ink as prepare takes it
 * @returns a list of {box, image}: box is {top, left, height, width} in pixels of the drawing, image
 *   is what prepare returns
 */
export function findDigits(ink, height, width) {
  const level = threshold(ink);
  const mask = { data: ink.map((v) => (v > level ? 1 : 0)), height, width };
  return groupDigits(mask).map((digit) => {
    const image = cropped(digit, width);
    const box = { top: digit.top, left: digit.left, height: image.height, width: image.width };
    return { box, image: pad(asMnist(image)) };
  });
}

/** Return the best threshold (Otsu, 1979): it makes n0 n1 (mean1 - mean0)^2 largest. */
export function threshold(ink) {
  const count = new Float64Array(256);
  for (const v of ink) count[v]++;
  const all = count.reduce((sum, n, v) => sum + n * v, 0);
  let [best, level, below, total] = [-1, 0, 0, 0];
  for (let v = 0; v < 255; v++) {
    below += count[v];
    total += count[v] * v;
    const above = ink.length - below;
    const gap = (all - total) / Math.max(above, 1) - total / Math.max(below, 1);
    if (below * above * gap * gap > best) [best, level] = [below * above * gap * gap, v];
  }
  return level;
}

/** Return the pixels of a part as an image as large as its box. */
function cropped({ pixels, top, left, bottom, right }, width) {
  const image = empty(bottom - top, right - left);
  for (const pixel of pixels) {
    image.data[(Math.floor(pixel / width) - top) * image.width + (pixel % width) - left] = 1;
  }
  return image;
}

/** Return a cropped digit at MNIST's size: scaled, thin strokes thickened, centred by its mass. */
function asMnist(digit) {
  const { height, width } = digit;
  const longer = Math.max(height, width);
  const side = 20 * SCALE;
  const growth = Math.max(0, MIN_STROKE * SCALE - (strokeWidth(digit) * side) / longer) / 2;
  const factor = (side - 2 * growth) / longer;
  const aspect = Math.max(width / height, Math.min((1.3 * width) / height, MIN_ASPECT));
  const small = resize(
    digit,
    Math.max(1, roundEven(height * factor)),
    Math.max(1, roundEven(height * aspect * factor)),
  );

  const size = SIDE * SCALE;
  const canvas = empty(size, size);
  paste(small, canvas, Math.floor((size - small.height) / 2), Math.floor((size - small.width) / 2));
  const thick = grow(canvas, growth);
  const { row, column } = centre(thick);
  const shift = (from) => roundEven(Math.min(4 * SCALE, Math.max(-4 * SCALE, size / 2 - from)));
  const moved = empty(size, size);
  paste(thick, moved, shift(row), shift(column));
  return shrink(moved);
}

/** Return the mean width of the strokes: twice the area over the outline's length. */
function strokeWidth({ data, height, width }) {
  let [area, sides] = [0, 0];
  for (let row = 0, i = 0; row < height; row++) {
    for (let column = 0; column < width; column++, i++) {
      if (!data[i]) continue;
      area += 1;
      if (row === 0 || !data[i - width]) sides += 1;
      if (row === height - 1 || !data[i + width]) sides += 1;
      if (column === 0 || !data[i - 1]) sides += 1;
      if (column === width - 1 || !data[i + 1]) sides += 1;
    }
  }
  const outline = (sides * Math.PI) / 4; // along the pixels' sides it is 4 / pi times too long
  return (2 * area) / outline;
}

/** Resample with a triangle, as Pillow does: columns first, then rows. */
export function resize(image, height, width) {
  return resizeRows(transpose(resizeRows(transpose(image), width)), height);
}

function resizeRows({ data, height, width }, rows) {
  const scale = height / rows;
  const support = Math.max(scale, 1);
  const out = empty(rows, width);
  for (let r = 0; r < rows; r++) {
    const middle = (r + 0.5) * scale;
    const first = Math.max(0, Math.floor(middle - support + 0.5));
    const last = Math.min(height, Math.floor(middle + support + 0.5));
    const weight = (row) => Math.max(0, 1 - Math.abs(row - middle + 0.5) / support);
    let total = 0;
    for (let row = first; row < last; row++) total += weight(row);
    for (let row = first; row < last; row++) {
      const share = weight(row) / total;
      for (let c = 0; c < width; c++) out.data[r * width + c] += share * data[row * width + c];
    }
  }
  return out;
}

function transpose({ data, height, width }) {
  const out = empty(width, height);
  for (let i = 0; i < data.length; i++)
    out.data[(i % width) * height + Math.floor(i / width)] = data[i];
  return out;
}

/** Return in every pixel the maximum over a disc; its rim, where it cuts pixels, counts less. */
function grow(image, radius) {
  const { height, width } = image;
  const grown = { data: image.data.slice(), height, width };
  const reach = Math.ceil(radius);
  for (let dy = -reach; dy <= reach; dy++) {
    for (let dx = -reach; dx <= reach; dx++) {
      const cover = Math.min(1, radius + 1 - Math.hypot(dx, dy));
      if (cover <= 0) continue;
      for (let r = Math.max(0, -dy); r < Math.min(height, height - dy); r++) {
        for (let c = Math.max(0, -dx); c < Math.min(width, width - dx); c++) {
          const value = cover * image.data[(r + dy) * width + c + dx];
          if (value > grown.data[r * width + c]) grown.data[r * width + c] = value;
        }
      }
    }
  }
  return grown;
}

/** Return the centre of mass. */
function centre({ data, width }) {
  let [mass, row, column] = [0, 0, 0];
  data.forEach((v, i) => {
    mass += v;
    row += v * (Math.floor(i / width) + 0.5);
    column += v * ((i % width) + 0.5);
  });
  return { row: row / mass, column: column / mass };
}

/** Return the means of squares of SCALE pixels, as bytes. */
function shrink({ data, width }) {
  const sums = new Float64Array(SIDE * SIDE);
  data.forEach((v, i) => {
    const row = Math.floor(i / width / SCALE);
    sums[row * SIDE + Math.floor((i % width) / SCALE)] += v;
  });
  return Uint8Array.from(sums, (v) => roundEven((255 * v) / (SCALE * SCALE)));
}

function pad(image) {
  const side = SIDE + 2 * BORDER;
  const padded = new Uint8Array(side * side);
  for (let r = 0; r < SIDE; r++) {
    padded.set(image.subarray(r * SIDE, (r + 1) * SIDE), (r + BORDER) * side + BORDER);
  }
  return padded;
}

function paste(image, onto, top, left) {
  image.data.forEach((v, i) => {
    const row = top + Math.floor(i / image.width);
    const column = left + (i % image.width);
    const inside = row >= 0 && row < onto.height && column >= 0 && column < onto.width;
    if (inside) onto.data[row * onto.width + column] = v;
  });
}

function empty(height, width) {
  return { data: new Float64Array(height * width), height, width };
}

/** Round halves to even, as Python does. */
function roundEven(x) {
  const nearest = Math.round(x);
  return nearest - x === 0.5 && nearest % 2 !== 0 ? nearest - 1 : nearest;
}
