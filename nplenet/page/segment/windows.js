// Extremes and medians of windows: grey dilation, erosion, closing, and the median of 3x3.
//
// The maximum of `size` neighbours is the maximum of two windows of about half the size, and so on:
// log2(size) comparisons of whole images per axis. Windows end at the border of the image.

import { median as middleOf } from "../numbers.js";

// Comparisons that leave the median of nine values in place 4 (Smith, 1996).
// prettier-ignore
const MEDIAN_OF_9 = [
  ...[[1, 2], [4, 5], [7, 8], [0, 1], [3, 4], [6, 7], [1, 2], [4, 5], [7, 8], [0, 3]],
  ...[[5, 8], [4, 7], [3, 6], [1, 4], [2, 5], [4, 7], [4, 2], [6, 4], [4, 2]],
];

/** Return the largest value of the size x size window round each pixel, of whole numbers; size is odd. */
export function dilated(image, size) {
  return extreme(extreme(image, size, true, 0), size, true, 1);
}

/** Return the smallest value of the size x size window round each pixel. */
export function eroded(image, size) {
  return extreme(extreme(image, size, false, 0), size, false, 1);
}

/** Return the image without what is dark and narrower than `size` pixels. */
export function closed(image, size) {
  return eroded(dilated(image, size), size);
}

/** Return the median of each pixel and its eight neighbours; edges stay where they are. */
export function median(image) {
  const { height, width } = image;
  const wide = padded(image, 1, 1);
  const nine = Array.from(
    { length: 9 },
    (_, i) => cropped(wide, Math.floor(i / 3), i % 3, height, width).data,
  );
  for (const [i, j] of MEDIAN_OF_9) {
    const [one, other] = [nine[i], nine[j]];
    for (let k = 0; k < one.length; k++) {
      const d = one[k] - other[k];
      const below = d & (d >> 31); // as in combine
      one[k] -= d - below;
      other[k] += d - below;
    }
  }
  return { data: nine[4], height, width };
}

/** Return the means of neighbours with weights 1 2 1, in both directions. */
export function smoothed(image) {
  const { height, width } = image;
  const { data, width: stride } = padded(image, 1, 1);
  const rows = new Float32Array(height * stride);
  for (let i = 0; i < rows.length; i++)
    rows[i] = (data[i] + 2 * data[i + stride] + data[i + 2 * stride]) / 4;
  const out = new Float32Array(height * width);
  for (let r = 0; r < height; r++) {
    for (let c = 0; c < width; c++) {
      const i = r * stride + c;
      out[r * width + c] = (rows[i] + 2 * rows[i + 1] + rows[i + 2]) / 4;
    }
  }
  return { data: out, height, width };
}

/** Return the standard deviation of the noise (Immerkaer, 1996), by a median against edges. */
export function noiseOf({ data, height, width }) {
  if (Math.min(height, width) < 3) return 0;
  const across = (i) => data[i - 1] - 2 * data[i] + data[i + 1];
  const both = new Float32Array((height - 2) * (width - 2));
  for (let r = 1, k = 0; r < height - 1; r++) {
    for (let i = r * width + 1; i < (r + 1) * width - 1; i++, k++)
      both[k] = Math.abs(across(i - width) - 2 * across(i) + across(i + width));
  }
  return middleOf(both) / (6 * 0.6745);
}

/** Return an image continued beyond its border by its outermost pixels, or by a value. */
export function padded({ data, height, width }, down, across, value = null) {
  const wide = blank(data, height + 2 * down, width + 2 * across);
  if (value !== null) {
    wide.data.fill(value);
    for (let r = 0; r < height; r++)
      wide.data.set(data.subarray(r * width, (r + 1) * width), (r + down) * wide.width + across);
    return wide;
  }
  for (let r = 0; r < wide.height; r++) {
    const row = Math.min(height - 1, Math.max(0, r - down)) * width;
    const start = r * wide.width;
    wide.data.fill(data[row], start, start + across);
    wide.data.set(data.subarray(row, row + width), start + across);
    wide.data.fill(data[row + width - 1], start + across + width, start + wide.width);
  }
  return wide;
}

/** Return a part of an image. */
export function cropped({ data, width: stride }, top, left, height, width) {
  const part = blank(data, height, width);
  for (let r = 0; r < height; r++) {
    const start = (top + r) * stride + left;
    part.data.set(data.subarray(start, start + width), r * width);
  }
  return part;
}

function blank(like, height, width) {
  return { data: new like.constructor(height * width), height, width };
}

function extreme(image, size, isLargest, axis) {
  const { height, width } = image;
  const reach = Math.min(size >> 1, (axis ? width : height) - 1);
  const wide = axis ? padded(image, 0, reach) : padded(image, reach, 0);
  const step = axis ? 1 : wide.width;
  let count = 1;
  // The pixel i of `wide` is the best of `count` pixels from i on; beyond its row, of no use.
  for (; 2 * count <= 2 * reach + 1; count *= 2) combine(wide.data, count * step, isLargest);
  combine(wide.data, (2 * reach + 1 - count) * step, isLargest);
  return cropped(wide, 0, 0, height, width);
}

/**
 * Replace each value by the larger, or smaller, one of itself and the one so many places on.
 *
 * Without a branch, which would be guessed wrong every other time: d & (d >> 31) is d where it is
 * negative, and otherwise 0.
 */
function combine(data, places, isLargest) {
  const end = data.length - places;
  if (isLargest) {
    for (let i = 0; i < end; i++) {
      const d = data[i] - data[i + places];
      data[i] -= d & (d >> 31);
    }
  } else {
    for (let i = 0; i < end; i++) {
      const d = data[i] - data[i + places];
      data[i] = data[i + places] + (d & (d >> 31));
    }
  }
}
