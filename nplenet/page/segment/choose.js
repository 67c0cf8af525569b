// Which groups of parts are digits: a score for each, and a contest between ink and ground.
//
// The score is a product. Each factor is 1 for any digit of MNIST written with any pen, and falls with
// what makes a group unlike that: an outline without an edge in the image, a shape as wide as it is
// long, a bar that lies, contact with the border of the image.

import { frames } from "./groups.js";
import { labelled } from "./parts.js";
import { reduced, widest } from "./shapes.js";

const MIN_SCORE = 0.012; // of a digit; noise on blank paper reached 0.002
const CANDIDATES = 60; // the best ones enter the contest
const RECTANGLE = 0.88; // filled fraction; an ellipse fills pi / 4 = 0.79
const MAX_FAT = 0.36; // width of a digit's widest stroke over its longer side
const MAX_ASPECT = 1.3; // width / height
const GOOD_CONTRAST = 0.5; // fraction of the paper's brightness; half as much costs 40 %
const MIN_STROKE = 0.015; // mean width of the strokes over the longer side
const LONG_BAR = 0.45; // of the image's side: a longer bar is rather a pen than a 1
const SIMILAR = 0.4; // score and size of further digits, as fractions of the best one's
const MAX_LARGER = 1.7; // times as long as the best one
const SMALL_HOLE = 0.3; // longest side over that of the strokes around it

/**
 * Return the best groups, the best first, of an image whose longer side is `side`.
 *
 * @param notes papers hardly larger than their digit
 * @param atEdge the factor for what touches the border
 */
export function ranked(groups, notes, side, atEdge) {
  for (const group of groups) {
    group.score = score(group, side) * (group.edges ? atEdge : 1);
    for (const note of notes) {
      if (!note.holds(group)) continue;
      group.score *= group.light === note.light ? note.shown(group) ** 2 / group.whole ** 6 : 0.1;
    }
  }
  const best = different(groups.toSorted((a, b) => b.score - a.score));
  for (const group of best) {
    group.fat = fat(group);
    if (!group.bar) group.score *= falling(group.fat / group.longer, MAX_FAT, 0.25);
  }
  contest(best);
  return best.filter((group) => group.score > MIN_SCORE).sort((a, b) => b.score - a.score);
}

/** Return the first groups, without those that another window showed before. */
function different(groups) {
  const kept = [];
  for (const group of groups) {
    if (group.score <= MIN_SCORE || kept.length === CANDIDATES) break;
    const isSame = (other) => group.light === other.light && sameBox(group, other);
    if (!kept.some(isSame)) kept.push(group);
  }
  return kept;
}

/** Return the digits among ranked groups, in reading order: the best, and others like it. */
export function digits(best) {
  const kept = [];
  for (const group of best) {
    const first = kept[0] ?? group;
    const [size, contrast] = [group.longer / first.longer, group.contrast / first.contrast];
    const alike =
      group.light === first.light &&
      group.edges <= first.edges &&
      group.score >= SIMILAR * first.score &&
      size >= SIMILAR &&
      size <= MAX_LARGER &&
      contrast >= 1 / 3 &&
      contrast <= 3;
    if (alike && !kept.some((other) => overlap(group, other) > 0.25)) kept.push(group);
  }
  return inReadingOrder(kept);
}

/** Return parts line by line, each from left to right. */
export function inReadingOrder(parts) {
  const lines = [];
  for (const part of parts.toSorted((a, b) => a.top + a.bottom - b.top - b.bottom)) {
    const line = lines.find((one) => {
      const last = one.at(-1);
      const shared = Math.min(part.bottom, last.bottom) - Math.max(part.top, last.top);
      return shared > 0.4 * Math.min(part.bottom - part.top, last.bottom - last.top);
    });
    if (line) line.push(part);
    else lines.push([part]);
  }
  return lines.flatMap((line) => line.sort((a, b) => a.left - b.left));
}

/** Return 1 up to a limit, then less; nearly 0 from `over` above the limit on. */
function falling(value, limit, over) {
  return Math.max(0.02, 1 - Math.max(0, value - limit) / over);
}

function score(group, side) {
  let value = Math.sqrt(group.longer / side);
  value *= group.whole ** 6;
  value *= Math.min(1, group.ground / 0.5) ** 2; // at most half the outline runs through small holes
  value *= Math.min(1, group.full / 0.85) ** 2;
  value *= falling(group.width / group.height, MAX_ASPECT, 1);
  value *= Math.min(1, group.contrast / GOOD_CONTRAST) ** 0.75;
  value *= Math.min(1, group.stroke / group.longer / MIN_STROKE);
  value *= 0.98 ** group.window * 0.97 ** (group.labels.length - 1);
  if (group.bar) value *= group.longer < LONG_BAR * side ? 0.7 : 0.35;
  if (group.flat) value *= 0.05;
  return value;
}

/** Return the width of the widest stroke. */
function fat(group) {
  const { small, step } = reduced(group.mask());
  return Math.max(0.8 * group.stroke, 0.85 * step * widest(small));
}

/**
 * Return the area with holes filled, and of the least rectangle around it, in any direction.
 *
 * The second is infinite where the rectangle is over three times as long as it is wide.
 */
function rectangle(group) {
  const { small, step } = reduced(group.mask());
  const ground = { ...small, data: small.data.map((v) => 1 - v) };
  const { data } = labelled(ground).where; // the corner is ground, of number 0
  const points = [];
  data.forEach((number, i) => {
    if (number !== 0) points.push([Math.floor(i / small.width), i % small.width]);
  });
  if (!points.length) return { filled: 0, around: Infinity };
  let least = { area: Infinity };
  for (let degrees = 0; degrees < 90; degrees += 3) {
    const [cos, sin] = [Math.cos, Math.sin].map((of) => of((degrees * Math.PI) / 180));
    const one = spread(points, ([y, x]) => cos * x + sin * y) + 1;
    const other = spread(points, ([y, x]) => cos * y - sin * x) + 1;
    if (one * other < least.area) least = { area: one * other, sides: [one, other] };
  }
  const [short, long] = least.sides.sort((a, b) => a - b);
  const around = long <= 3 * short ? least.area * step ** 2 : Infinity;
  return { filled: points.length * step ** 2, around };
}

/** Return the largest value minus the least one. */
function spread(points, value) {
  let [low, high] = [Infinity, -Infinity];
  for (const point of points) {
    const v = value(point);
    if (v < low) low = v;
    if (v > high) high = v;
  }
  return high - low;
}

/** Lower the scores of frames, of ground that looks like ink, and of what carries a digit. */
function contest(best) {
  const scores = best.map((group) => group.score);
  const shapes = best.map(rectangle);
  const isRectangle = shapes.map(({ filled, around }) => filled > RECTANGLE * around);
  const [lost, carrier] = [new Set(), new Set()];
  best.forEach((a, i) => {
    best.forEach((b, j) => {
      const split = a.light !== b.light && a.area + b.area > RECTANGLE * shapes[i].around;
      if ((isRectangle[i] || split) && !isRectangle[j] && within(a, b)) carrier.add(i); // a sheet, a
      // card, a box: with something in it, or across it
      if (a.light === b.light) {
        const sound = b.full >= 0.7 && b.whole >= 0.8 && scores[j] > 0.02 * scores[i];
        if (i !== j && sound && frames(a, b) && covered(a, b) < 0.1) lost.add(i);
        return;
      }
      if (!holds(a, b)) return;
      const single = a.labels.length === 1 && !a.edges;
      const thin = a.fat <= 0.3 * a.longer && single;
      if (thin && b.longer <= SMALL_HOLE * a.longer && scores[i] >= 0.2 * scores[j]) lost.add(j);
      // the hole of an 8, also where the edge of the strokes is ragged
      if (a.whole < 0.8 || b.whole < 0.7) return;
      const ratio = a.fat / b.stroke;
      if (ratio <= 2.5 && single && a.whole >= 0.93 && a.full >= 0.8 && a.ground >= 0.3)
        lost.add(j); // the hole of a 0, the space between strokes
      const compact = b.bar || b.fat > 0.3 * b.longer;
      if (ratio >= (compact ? 6 : 3) && scores[j] >= 0.1 * scores[i] && carries(a, b))
        carrier.add(i); // paper or a card around a digit
    });
  });
  best.forEach((group, i) => {
    group.score *= (lost.has(i) ? 0.1 : 1) * (carrier.has(i) ? 0.1 : 1);
  });
}

/** Return whether b, which is whole and not small, lies in the box of a. */
function within(a, b) {
  const sound = b.full >= 0.7 && b.whole >= 0.7 && b.longer >= 0.2 * a.longer;
  return sound && holds(a, b) && covered(a, b) < 0.1;
}

/** Return whether the box of a holds the box of b, but for two pixels, and is not the same. */
function holds(a, b) {
  const inner = Math.max(a.top - b.top, a.left - b.left, b.bottom - a.bottom, b.right - a.right);
  const isLonger = a.longer === b.longer && a.width + a.height > b.width + b.height;
  return inner <= 2 && (a.longer > b.longer || isLonger);
}

/** Return whether b is not small in a, and a is all around it: in 0.8 of a ring at 4 pixels. */
function carries(a, b) {
  if (b.longer < 0.25 * a.longer) return false;
  const { data, height, width } = a.where;
  const [top, left] = [Math.max(0, b.top - 4), Math.max(0, b.left - 4)];
  const [bottom, right] = [Math.min(height, b.bottom + 4), Math.min(width, b.right + 4)];
  const ring = [];
  for (let x = left; x < right; x++) ring.push(top * width + x, (bottom - 1) * width + x);
  for (let y = top; y < bottom; y++) ring.push(y * width + left, y * width + right - 1);
  return ring.filter((i) => a.labels.includes(data[i])).length > 0.8 * ring.length;
}

/** Return the fraction of b's pixels that are in a's largest part, too. */
function covered(a, b) {
  const mask = b.mask();
  let [area, both] = [0, 0];
  mask.data.forEach((v, i) => {
    if (!v) return;
    area += 1;
    const row = b.top + Math.floor(i / mask.width);
    const place = row * a.where.width + b.left + (i % mask.width);
    if (a.where.data[place] === a.labels[0]) both += 1;
  });
  return both / area;
}

/** Return whether two boxes share over 0.8 of the larger box. */
function sameBox(a, b) {
  return shared(a, b) > 0.8 * Math.max(a.height * a.width, b.height * b.width);
}

/** Return the area that two boxes share as a fraction of the smaller box. */
function overlap(a, b) {
  return shared(a, b) / Math.min(a.height * a.width, b.height * b.width);
}

/** Return the area that two boxes share. */
function shared(a, b) {
  const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
  return Math.max(0, down) * Math.max(0, across);
}
