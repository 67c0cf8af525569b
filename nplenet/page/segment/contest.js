// A contest of groups: a digit and what is around it or inside it cannot both be ink.
//
// a frame      loses to what it frames                  of one polarity
// a piece      loses to the whole that it was cut from
// a hole       loses to the strokes around it           of different polarities
// a carrier    loses to what it carries: a sheet, a card

import { frames as isFrame } from "./groups.js";
import { labelled } from "./parts.js";
import { reduced } from "./shapes.js";

const LOST = 0.1; // factor for the score of what loses
const RECTANGLE = 0.88; // filled fraction; an ellipse fills pi / 4 = 0.79
const PIECE = 0.5; // least score of a whole, of its piece's
const CUT = 0.85; // contrast of a piece that a narrow window cut out, of the whole's
const SMALL_HOLE = 0.3; // longest side over that of the strokes around it
const CARD = 0.2; // width of the widest place of a card over its longer side

/** Lower the scores of groups that lose: once as ink, and once more as what carries ink. */
export function contest(best) {
  const scores = best.map((group) => group.score);
  const rectangle = best.map(isRectangle);
  const [lost, carrier] = [new Set(), new Set()];
  best.forEach((a, i) => {
    best.forEach((b, j) => {
      if (i === j) return;
      const ratio = scores[j] / scores[i];
      if (rectangle[i] && !rectangle[j] && within(a, b)) carrier.add(i); // a sheet, a card, a box:
      // with something in it, or across it
      if (a.light === b.light) {
        if (ratio > 0.02 && frames(a, b)) lost.add(i);
        if (ratio <= 1 / PIECE && piece(a, b)) lost.add(j);
      } else if (holds(a, b)) {
        if (hole(a, b, ratio)) lost.add(j);
        if (ratio >= 0.1 && carries(a, b)) carrier.add(i);
      }
    });
  });
  best.forEach((group, i) => {
    group.score *= (lost.has(i) ? LOST : 1) * (carrier.has(i) ? LOST : 1);
  });
}

/**
 * Return whether a group with its holes fills a rectangle, in any direction.
 *
 * One that is over three times as long as wide may be a 1.
 */
function isRectangle(group) {
  const { small } = reduced(group.mask());
  const ground = { ...small, data: small.data.map((v) => 1 - v) };
  const { data } = labelled(ground).where; // the corner is ground, of number 0
  const points = [];
  data.forEach((number, i) => {
    if (number !== 0) points.push([Math.floor(i / small.width), i % small.width]);
  });
  if (!points.length) return false;
  let least = { area: Infinity };
  for (let degrees = 0; degrees < 90; degrees += 3) {
    const [cos, sin] = [Math.cos, Math.sin].map((of) => of((degrees * Math.PI) / 180));
    const one = spread(points, ([y, x]) => cos * x + sin * y) + 1;
    const other = spread(points, ([y, x]) => cos * y - sin * x) + 1;
    if (one * other < least.area) least = { area: one * other, sides: [one, other] };
  }
  const [short, long] = least.sides.sort((a, b) => a - b);
  return long <= 3 * short && points.length > RECTANGLE * short * long;
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

/** Return whether b, which is whole and not small, lies in the box of a, a card or a frame. */
function within(a, b) {
  const sound = b.full >= 0.7 && b.whole >= 0.7 && b.longer >= 0.2 * a.longer;
  const fits = a.light === b.light || a.fat >= CARD * a.longer;
  return sound && fits && holds(a, b) && covered(a, b, a.labels.slice(0, 1)) < 0.1;
}

/** Return whether a is around b, and b is whole. */
function frames(a, b) {
  const sound = b.full >= 0.7 && b.whole >= 0.8;
  return sound && isFrame(a, b) && covered(a, b, a.labels.slice(0, 1)) < 0.1;
}

/** Return whether b is a piece of a, which a narrower window cut out. */
function piece(a, b) {
  const cut = b.window < a.window && b.full < CUT * a.full && a.edges <= b.edges;
  return cut && holds(a, b) && covered(a, b, a.labels) > 0.9;
}

/** Return whether b, in the box of a, is a space between its strokes; `ratio` is of scores. */
function hole(a, b, ratio) {
  const single = a.labels.length === 1 && !a.edges;
  const small = b.longer <= SMALL_HOLE * a.longer && ratio <= 5;
  if (single && small && a.fat <= 0.3 * a.longer) return true; // the hole of an 8, also where the
  // edge of the strokes is ragged
  const sound = a.whole >= 0.93 && a.full >= 0.8 && a.ground >= 0.3 && b.whole >= 0.7;
  return single && sound && a.fat <= 2.5 * b.stroke; // the hole of a 0
}

/**
 * Return whether a, in whose box b lies, is paper or a card around a digit.
 *
 * It is much wider than the strokes of b, which is not small in it, and all around b: in 0.8 of a
 * ring at 4 pixels.
 */
function carries(a, b) {
  const compact = b.bar || b.fat > 0.3 * b.longer;
  if (a.whole < 0.8 || b.whole < 0.7 || a.fat < (compact ? 6 : 3) * b.stroke) return false;
  if (b.longer < 0.25 * a.longer || a.fat < CARD * a.longer) return false;
  const { data, height, width } = a.where;
  const [top, left] = [Math.max(0, b.top - 4), Math.max(0, b.left - 4)];
  const [bottom, right] = [Math.min(height, b.bottom + 4), Math.min(width, b.right + 4)];
  const ring = [];
  for (let x = left; x < right; x++) ring.push(top * width + x, (bottom - 1) * width + x);
  for (let y = top; y < bottom; y++) ring.push(y * width + left, y * width + right - 1);
  return ring.filter((i) => a.labels.includes(data[i])).length > 0.8 * ring.length;
}

/** Return whether the box of a holds the box of b, but for two pixels, and is not the same. */
function holds(a, b) {
  const inner = Math.max(a.top - b.top, a.left - b.left, b.bottom - a.bottom, b.right - a.right);
  const isLonger = a.longer === b.longer && a.width + a.height > b.width + b.height;
  return inner <= 2 && (a.longer > b.longer || isLonger);
}

/** Return the fraction of b's pixels that are in those parts of a, too. */
function covered(a, b, labels) {
  const mask = b.mask();
  let [area, both] = [0, 0];
  mask.data.forEach((v, i) => {
    if (!v) return;
    area += 1;
    const row = b.top + Math.floor(i / mask.width);
    const place = row * a.where.width + b.left + (i % mask.width);
    if (labels.includes(a.where.data[place])) both += 1;
  });
  return both / area;
}
