// A drawn box that its digit touches or crosses: its four sides are taken away.
//
//   ###                 ###
// ##########            ..##......
// #......##.            .......##.
// #.....##.#     ->     ......##..
// #.....##.#            ......##..
// ##########            ..........

import { roundEven } from "../numbers.js";
import { strongest, transposed, without } from "./lines.js";

const MIN_SIDE = 24; // pixels
const MAX_AREA = 0.5; // fraction of the box that is ink
const BAND = 0.15; // of the box's side: where the lines are
const MIN_COVERED = 0.6; // of a side has ink in its band
const MIN_LINE = 0.3; // of a side is line; the digit may cover the rest
const MIN_LINES = 2.8; // of the four sides together
const MAX_THICK = 1 / 16; // of the box's longer side
const MIN_DIGIT = 0.3; // of the box's longer side

/**
 * Return the parts of a mask, without boxes if there is a digit in one of them.
 *
 * The 0 and the 8 of a display are boxes, too; inside there is nothing, or a line that lies.
 *
 * @param partsOf returns the parts of a mask
 */
export function withoutBoxes(mask, partsOf) {
  const parts = partsOf(mask);
  const boxes = parts.map((box) => ({ box, lines: sides(box) })).filter(({ lines }) => lines);
  if (!boxes.length) return parts;
  const left = { ...mask, data: mask.data.slice() };
  for (const { box, lines } of boxes) {
    const [across, down] = lines;
    const ink = box.mask();
    const inner = transposed(without(transposed(without(ink, across)), down));
    ink.data.forEach((v, i) => {
      const row = box.top + Math.floor(i / ink.width);
      if (v && !inner.data[i]) left.data[row * mask.width + box.left + (i % ink.width)] = 0;
    });
  }
  const inside = partsOf(left);
  return inside.some((part) => boxes.some(({ box }) => isIn(part, box))) ? inside : parts;
}

/** Return whether the middle of a part lies in a box, and the part may be a digit. */
function isIn(part, box) {
  const [y, x] = [(part.top + part.bottom) / 2, (part.left + part.right) / 2];
  const middle = box.top < y && y < box.bottom && box.left < x && x < box.right;
  return middle && part.longer >= MIN_DIGIT * box.longer && !part.flat;
}

/** Return the upper and lower, and the left and right side of a box; null if it has not all. */
function sides(part) {
  const box = part.height * part.width;
  const shorter = Math.min(part.height, part.width);
  if (shorter < Math.max(MIN_SIDE, part.longer / 3) || part.area > MAX_AREA * box) return null;
  const ink = part.mask();
  const pairs = [];
  let covered = 0;
  for (const rows of [ink, transposed(ink)]) {
    const { height, width } = rows;
    const band = Math.max(2, roundEven(BAND * height));
    const least = Math.min(columns(rows, 0, band), columns(rows, height - band, height));
    if (least < MIN_COVERED * width) return null;
    const thick = MAX_THICK * part.longer;
    const both = [strongest(rows, 0, band, thick), strongest(rows, height - band, height, thick)];
    if (both.some(({ count }) => count < MIN_LINE * width)) return null;
    covered += (both[0].count + both[1].count) / width;
    pairs.push(both.map(({ line }) => line));
  }
  return covered >= MIN_LINES ? pairs : null;
}

/** Return how many columns have ink between two rows. */
function columns({ data, width }, top, bottom) {
  let count = 0;
  for (let x = 0; x < width; x++) {
    let row = top;
    while (row < bottom && !data[row * width + x]) row++;
    if (row < bottom) count += 1;
  }
  return count;
}
