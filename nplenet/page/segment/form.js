// A digit in the form of MNIST's: 20 pixels large, its centre of mass in the middle of 28x28.
//
// MNIST's digits were scans in black and white, scaled to fit 20x20, with their centre of mass in the
// middle (LeCun et al., 1998, section III.A).

import { roundEven } from "../numbers.js";
import { resized } from "../resample.js";

const SIDE = 28; // pixels of MNIST's images
const SCALE = 4; // pixels per pixel of MNIST: strokes and centre are exact to a quarter pixel
const MIN_STROKE = 2; // pixels of MNIST; over four fifths of its digits have thicker strokes
const MIN_ASPECT = 0.45; // width / height; in MNIST hardly any digit except 1 is narrower

/**
 * Return a cropped digit, a mask, in MNIST's form: Uint8Array (28 * 28).
 *
 * Two steps go beyond MNIST's own recipe, because pens and typefaces differ more than the pens of
 * MNIST's writers: thin strokes are thickened, and a narrow digit is widened by a factor of up to 1.3.
 */
export function asMnist(digit) {
  const { height, width } = digit;
  const longer = Math.max(height, width);
  const side = 20 * SCALE;
  const growth = Math.max(0, MIN_STROKE * SCALE - (strokeWidth(digit) * side) / longer) / 2;
  const factor = (side - 2 * growth) / longer;
  const aspect = Math.max(width / height, Math.min((1.3 * width) / height, MIN_ASPECT));
  const sides = [height * factor, height * aspect * factor].map((v) => Math.max(1, roundEven(v)));
  const small = resized({ ...digit, data: new Float32Array(digit.data) }, ...sides);

  const size = SIDE * SCALE;
  const [top, left] = sides.map((n) => (size - n) >> 1);
  const canvas = pasted(small, size, top, left);
  const thick = grown(canvas, growth);
  // The longer side leaves a margin of 4 on both sides; a shift of at most 4 loses no ink.
  const shifts = centreOf(thick).map((centre) =>
    roundEven(Math.min(4 * SCALE, Math.max(-4 * SCALE, size / 2 - centre))),
  );
  return meansOf(pasted(thick, size, ...shifts));
}

/**
 * Return the mean width of the strokes in pixels: twice the area over the outline's length.
 *
 * The outline along the sides of the pixels is too long by 4 / pi, averaged over all directions.
 */
export function strokeWidth({ data, height, width }) {
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
  return (2 * area) / ((sides * Math.PI) / 4);
}

/** Return the maximum over a disc around every pixel; pixels cut by its rim count in part. */
function grown(image, radius) {
  const { height, width } = image;
  const out = image.data.slice();
  const reach = Math.ceil(radius);
  for (let dy = -reach; dy <= reach; dy++) {
    for (let dx = -reach; dx <= reach; dx++) {
      const cover = Math.min(1, radius + 1 - Math.hypot(dx, dy));
      if (cover <= 0) continue;
      for (let r = Math.max(0, -dy); r < Math.min(height, height - dy); r++) {
        for (let c = Math.max(0, -dx); c < Math.min(width, width - dx); c++) {
          const value = cover * image.data[(r + dy) * width + c + dx];
          if (value > out[r * width + c]) out[r * width + c] = value;
        }
      }
    }
  }
  return { data: out, height, width };
}

/** Return the centre of mass: row and column. */
function centreOf({ data, width }) {
  let [mass, row, column] = [0, 0, 0];
  data.forEach((v, i) => {
    mass += v;
    row += v * (Math.floor(i / width) + 0.5);
    column += v * ((i % width) + 0.5);
  });
  return [row / mass, column / mass];
}

/** Return the means of squares of SCALE pixels, as bytes. */
function meansOf({ data, width }) {
  const sums = new Float64Array(SIDE * SIDE);
  data.forEach((v, i) => {
    const row = Math.floor(i / width / SCALE);
    sums[row * SIDE + Math.floor((i % width) / SCALE)] += v;
  });
  return Uint8Array.from(sums, (v) => roundEven((255 * v) / (SCALE * SCALE)));
}

/** Return an empty square of size * size with an image in it; what reaches beyond it is cut off. */
function pasted(image, size, top, left) {
  const out = { data: new Float64Array(size * size), height: size, width: size };
  image.data.forEach((v, i) => {
    const row = top + Math.floor(i / image.width);
    const column = left + (i % image.width);
    const inside = row >= 0 && row < size && column >= 0 && column < size;
    if (inside) out.data[row * size + column] = v;
  });
  return out;
}
