// From a drawing to its digits: the connected parts of the ink, and which of them are one digit.
//
// A photo is read by recognize.js, as in Python. Here the ink is known, and it is asked for again after
// every move of the pen: the rules are those of segment/groups.js but for what a photo needs, and
// finer where strokes are.
//
//      ##              the parts of a 4: a narrow gap is between them;
// #    ##              if one part is a stroke, as the bar of a 5, the gap may be wider
// ####.##
//      ##   _____      a straight line below a digit is a rule that someone drew
//
// A part is {pixels, rows, top, left, bottom, right}; bottom and right are exclusive. Its ink in
// row r begins and ends at the columns rows[r], the second exclusive.

import { imageOf } from "./recognize.js";
import { inReadingOrder } from "./segment/choose.js";

const MIN_SIDE = 8; // pixels; a drawing without a longer part has no digit
const MIN_AREA = 1 / 20; // of the largest part's; a smaller part is a speck
const MAX_PARTS = 40; // the longest ones: a board full of dots must not stop the page
const MIN_DIGIT = 0.4; // of the longest digit's length
const SMALL = 0.6; // of the longer part's length; a smaller part is a stroke
const LYING = 2.5; // width / height; a part that lies is a stroke, too
const RULE = 5; // width / height of a line that someone drew below a digit
const OPEN_4 = { aspect: 0.9, uneven: 0.25 }; // one part ends higher, by a share of the height
const MAX_ASPECT = 1.3; // width / height of a digit of two parts
const MAX_ASPECT_LYING = 1.8; // the same, if one lies: a 5 with a long bar
const THIN = 0.25; // the same, of a 1 in pieces
const HALF = 0.8; // width / height of a part; the upper and lower half of a digit are wider

// Gaps within a digit, as shares of its height:
const GAP = 0.05;
const GAP_OF_STROKE = 0.2;
const GAP_OF_HALVES = 0.1;
const GAP_OF_LINES = 0.03; // of parts that may be digits in two lines
const REACH = 0.7; // of a stroke's length: how far to its left or right the digit is

/**
 * Find the digits of a drawing, in reading order: line by line, each from left to right.
 *
 * @param ink Uint8Array (height * width), 0 where there is paper to 255 where there is ink
 * @returns a list of {box, image}: box is {top, left, height, width} in pixels of the drawing, image
 *   the digit in the form of MNIST's, Uint8Array (32 * 32), ink 255
 */
export function findDrawnDigits(ink, height, width) {
  const level = threshold(ink);
  const mask = { data: ink.map((v) => (v > level ? 1 : 0)), height, width };
  return groupDigits(mask).map((digit) => {
    const image = cropped(digit, width);
    const box = { top: digit.top, left: digit.left, height: image.height, width: image.width };
    return { box, image: imageOf(image) };
  });
}

/** Return the best threshold (Otsu, 1979): it makes n0 n1 (mean1 - mean0)^2 largest. */
function threshold(ink) {
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
  const [high, wide] = [bottom - top, right - left];
  const image = { data: new Uint8Array(high * wide), height: high, width: wide };
  for (const pixel of pixels) {
    image.data[(Math.floor(pixel / width) - top) * image.width + (pixel % width) - left] = 1;
  }
  return image;
}

/** Return the digits of a drawing, in reading order; specks, rules and small parts stay out. */
function groupDigits(mask) {
  const parts = withoutSpecks(findParts(mask)).toSorted((a, b) => longer(b) - longer(a));
  const groups = joined(parts.slice(0, MAX_PARTS));
  const upright = groups.filter((group) => !isLying(group));
  const some = upright.length ? upright : groups;
  const least = MIN_DIGIT * Math.max(...some.map(longer));
  return inReadingOrder(some.filter((group) => longer(group) >= least));
}

/** Return each connected part of a mask. Pixels connect by sides and corners. */
function findParts({ data, height, width }) {
  const left = data.slice(); // the ink that is in no part yet
  const parts = [];
  for (let seed = left.indexOf(1); seed >= 0; seed = left.indexOf(1, seed)) {
    const part = { pixels: [seed], rows: [], top: height, left: width, bottom: 0, right: 0 };
    left[seed] = 0;
    for (const pixel of part.pixels) {
      // which grows while we walk along it
      const [row, column] = [Math.floor(pixel / width), pixel % width];
      widen(part, row, column, column + 1);
      for (let r = Math.max(row - 1, 0); r <= Math.min(row + 1, height - 1); r++) {
        for (let c = Math.max(column - 1, 0); c <= Math.min(column + 1, width - 1); c++) {
          if (!left[r * width + c]) continue;
          left[r * width + c] = 0;
          part.pixels.push(r * width + c);
        }
      }
    }
    parts.push(part);
  }
  return parts;
}

/** Return the parts that are not specks; none where all are too short for a digit. */
function withoutSpecks(parts) {
  if (!parts.some((part) => longer(part) >= MIN_SIDE)) return [];
  const largest = parts.reduce((most, { pixels }) => Math.max(most, pixels.length), 0);
  return parts.filter(({ pixels }) => pixels.length >= MIN_AREA * largest);
}

/** Join parts, the longest first, until no two are one digit. */
function joined(parts) {
  for (const a of parts) {
    const b = parts.slice(parts.indexOf(a) + 1).find((other) => areOneDigit(a, other));
    if (!b) continue;
    for (const pixel of b.pixels) a.pixels.push(pixel);
    b.rows.forEach(([start, end], row) => widen(a, row, start, end));
    const others = parts.filter((part) => part !== b);
    return joined(others.sort((one, other) => longer(other) - longer(one)));
  }
  return parts;
}

/** Return whether two parts are one digit; a is the longer one. */
function areOneDigit(a, b) {
  const [left, right] = [Math.min(a.left, b.left), Math.max(a.right, b.right)];
  const [top, bottom] = [Math.min(a.top, b.top), Math.max(a.bottom, b.bottom)];
  const high = bottom - top;
  const aspect = (right - left) / high;
  const lies = isLying(a) || isLying(b);
  if (isRule(a, b) || isRule(b, a)) return false;
  if (aspect > (lies ? MAX_ASPECT_LYING : MAX_ASPECT)) return false;
  const across = right - left - width(a) - width(b); // the gaps, below 0 where parts overlap
  const down = high - height(a) - height(b);
  const gap = Math.hypot(Math.max(0, across), Math.max(0, down));
  const uneven = Math.abs(a.bottom - b.bottom) / high >= OPEN_4.uneven;
  const isOpen4 = across > 0 && down < 0 && aspect <= OPEN_4.aspect && uneven;
  if (lies || isOpen4 || longer(b) < SMALL * longer(a))
    return gap <= GAP_OF_STROKE * high && across <= REACH * longer(b);
  const areBeside = -down >= 0.5 * Math.min(height(a), height(b));
  if (areBeside) return gapInRows(a, b) <= GAP * high;
  if (aspect <= THIN) return gap <= GAP * high;
  const areHalves = [a, b].every((part) => width(part) >= HALF * height(part));
  return gap <= (areHalves ? GAP_OF_HALVES : GAP_OF_LINES) * high;
}

/** Return the least gap between two parts in one row: slanted digits are apart, their boxes not. */
function gapInRows(a, b) {
  let gap = Infinity;
  a.rows.forEach(([start, end], row) => {
    if (row in b.rows) gap = Math.min(gap, Math.max(b.rows[row][0] - end, start - b.rows[row][1]));
  });
  return gap;
}

/** Return whether a part is a straight line below another one. */
function isRule(line, above) {
  const isBelow = line.top >= above.bottom - 0.1 * height(above);
  return isBelow && width(line) >= RULE * height(line);
}

/** Add the ink between two columns of a row to a part. */
function widen(part, row, start, end) {
  const span = (part.rows[row] ??= [start, end]);
  part.rows[row] = [Math.min(span[0], start), Math.max(span[1], end)];
  part.top = Math.min(part.top, row);
  part.left = Math.min(part.left, start);
  part.bottom = Math.max(part.bottom, row + 1);
  part.right = Math.max(part.right, end);
}

function isLying(part) {
  return width(part) >= LYING * height(part);
}

function height(part) {
  return part.bottom - part.top;
}

function width(part) {
  return part.right - part.left;
}

function longer(part) {
  return Math.max(height(part), width(part));
}
