// Which groups of parts are digits: a score for each, lower for what loses a contest.
//
// The score is a product. Each factor is 1 for any digit of MNIST written with any pen, and falls with
// what makes a group unlike that: an outline without an edge in the image, a shape as wide as it is
// long, a bar that lies, contact with the border of the image.

import { contest } from "./contest.js";
import { WHOLE } from "./parts.js";
import { reduced, widest } from "./shapes.js";

const MIN_SCORE = 0.012; // of a digit; noise on blank paper reached 0.002
const CANDIDATES = 60; // the best ones enter the contest
const MAX_FAT = 0.36; // width of a digit's widest stroke over its longer side
const MAX_ASPECT = 1.3; // width / height
const GOOD_CONTRAST = 0.5; // fraction of the paper's brightness; half as much costs 40 %
const MIN_STROKE = 0.015; // mean width of the strokes over the longer side
const LONG_BAR = 0.45; // of the image's side: a longer bar is rather a pen than a 1
const SIMILAR = 0.4; // score and size of further digits, as fractions of the best one's
const MAX_LARGER = 1.7; // times as long as the best one

/**
 * Return the best groups, the best first, of an image whose longer side is `side`.
 *
 * @param notes papers hardly larger than their digit
 * @param atEdge the factor for what touches the border
 */
export function ranked(groups, notes, side, atEdge) {
  for (const group of groups) group.score = score(group, side) * (group.edges ? atEdge : 1);
  for (const note of notes) {
    note.factors(groups).forEach((factor, k) => (groups[k].score *= factor));
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
  value *= group.whole ** WHOLE;
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
