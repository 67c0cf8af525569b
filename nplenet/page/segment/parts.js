// Connected parts of a mask, and what tells a stroke of ink from all else.
//
// Pixels connect by sides and by corners:
//
//     row 0   .##..##.     two runs, which the run below joins
//     row 1   ..####..     so all three are one part

import { roundEven } from "../numbers.js";
import { WIDER } from "./ink.js";
import { cropped, padded } from "./windows.js";

const MAX_PARTS = 120; // the longest ones
const EDGE = 0.5; // fraction of a part's contrast that is an edge in the image
export const WHOLE = 6; // exponent of `whole` in a score
const BEYOND = 2; // pixels from the outline to the ground
const SIDES = [
  [0, 1],
  [0, -1],
  [1, 0],
  [-1, 0],
];

/** Ink that is connected, or a group of such parts. */
export class Part {
  /**
   * @param facts labels, where: its numbers in an image of all parts, -1 where there is no ink;
   *   top, left, bottom, right: its box in pixels, bottom and right exclusive;
   *   area, outline: pixels, and sides of pixels between ink and paper;
   *   contrast: mean fraction of the paper's brightness that is missing;
   *   whole: fraction of the outline where the image has an edge, too. A part that a window cuts out
   *   of something wider, or a soft shadow, has an outline where there is no edge;
   *   ground: fraction of the outline beyond which there is ground, not the opposite kind of ink: the
   *   space between two strokes is bright "ink" whose surroundings are strokes;
   *   full: contrast as a fraction of what a window four times as wide shows;
   *   thin, long: sides of the rectangle with the same second moments;
   *   lying: whether its longer axis is within 35 degrees of horizontal;
   *   edges: how many borders of the image it touches;
   *   light, window: whether it is light ink; the number of its window
   */
  constructor(facts) {
    Object.assign(this, { light: false, window: 0, fat: 0, score: 0 }, facts);
  }

  get height() {
    return this.bottom - this.top;
  }

  get width() {
    return this.right - this.left;
  }

  get longer() {
    return Math.max(this.height, this.width);
  }

  /** Mean width of the strokes: twice the area over the outline, pixels' sides corrected. */
  get stroke() {
    return (2 * this.area) / Math.max((this.outline * Math.PI) / 4, 1);
  }

  /** Whether it is a straight bar: hardly wider than its stroke. */
  get bar() {
    const isThin = this.thin <= 1.5 * this.stroke && this.long > 3 * this.thin;
    return this.labels.length === 1 && isThin;
  }

  /** Whether it is long and lies, which no digit does. */
  get flat() {
    return this.labels.length === 1 && this.lying && this.long >= 2.5 * this.thin;
  }

  /** Return its pixels within its box. */
  mask() {
    const box = cropped(this.where, this.top, this.left, this.height, this.width);
    return { ...box, data: Uint8Array.from(box.data, (k) => (this.labels.includes(k) ? 1 : 0)) };
  }
}

/** Return the number of its part for each pixel of a mask, -1 where there is none; and their count. */
export function labelled({ data, height, width }) {
  const where = new Int32Array(data.length).fill(-1);
  const least = []; // of each number: one that it is connected with, at most as large
  for (let row = 0, i = 0; row < height; row++) {
    for (let column = 0; column < width; column++, i++) {
      if (!data[i]) continue;
      const left = column > 0;
      const right = column < width - 1;
      let number = left && data[i - 1] ? where[i - 1] : -1;
      if (row) {
        const above = i - width;
        if (left && data[above - 1]) number = joined(least, number, where[above - 1]);
        if (data[above]) number = joined(least, number, where[above]);
        if (right && data[above + 1]) number = joined(least, number, where[above + 1]);
      }
      where[i] = number < 0 ? least.push(least.length) - 1 : number;
    }
  }
  let count = 0;
  const names = least.map(() => 0);
  least.forEach((node, k) => (names[k] = node === k ? count++ : names[root(least, node)]));
  for (let i = 0; i < where.length; i++) if (where[i] >= 0) where[i] = names[where[i]];
  return { where: { data: where, height, width }, count };
}

/** Connect two numbers; return the least one that they are connected with. */
function joined(least, one, other) {
  if (one < 0 || one === other) return other;
  const [a, b] = [root(least, one), root(least, other)];
  return (least[Math.max(a, b)] = Math.min(a, b));
}

function root(least, number) {
  while (least[number] !== number) number = least[number] = least[least[number]];
  return number;
}

/**
 * Return the parts of a mask, the longest first, without those below minSide.
 *
 * @param ink what window number `step` of the papers shows
 * @param opposite the negative's papers
 */
export function partsOf(mask, ink, papers, step, opposite, minSide) {
  const { where, count } = labelled(mask);
  if (!count) return [];
  const parts = boxes(where, count);
  const wider = papers.levels[Math.min(step + WIDER, papers.levels.length - 1)].data;
  sum(where, parts, "contrast", (i) => ink.contrast.data[i]);
  sum(where, parts, "missing", (i) => papers.levels[step].data[i] - papers.grey.data[i]);
  sum(where, parts, "wider", (i) => wider[i] - papers.grey.data[i]);
  for (const part of parts) {
    part.contrast /= part.area;
    part.full = Math.min(1, Math.max(0, part.missing / Math.max(part.wider, 1)));
  }
  outlines(where, parts, ink, opposite);
  axes(where, parts);
  const { height, width } = mask;
  for (const part of parts) {
    const { top, left, bottom, right } = part;
    part.edges = [top === 0, left === 0, bottom === height, right === width].filter(Boolean).length;
  }
  const found = parts.map((facts, k) => new Part({ labels: [k], where, ...facts }));
  found.sort((a, b) => b.longer - a.longer);
  return found.slice(0, MAX_PARTS).filter((part) => part.longer >= minSide);
}

/** Return area and box of each part. */
function boxes({ data, height, width }, count) {
  const parts = Array.from({ length: count }, () => {
    return { area: 0, top: height, left: width, bottom: 0, right: 0 };
  });
  for (let row = 0, i = 0; row < height; row++) {
    for (let column = 0; column < width; column++, i++) {
      if (data[i] < 0) continue;
      const part = parts[data[i]];
      part.area += 1;
      part.top = Math.min(part.top, row);
      part.left = Math.min(part.left, column);
      part.bottom = Math.max(part.bottom, row + 1);
      part.right = Math.max(part.right, column + 1);
    }
  }
  return parts;
}

/** Give each part the sum of value(i) over its pixels, under a name. */
function sum({ data }, parts, name, value) {
  const sums = new Float64Array(parts.length);
  for (let i = 0; i < data.length; i++) if (data[i] >= 0) sums[data[i]] += value(i);
  parts.forEach((part, k) => (part[name] = sums[k]));
}

/** Give each part the shorter and longer side of the rectangle with its moments, and if it lies. */
function axes(where, parts) {
  const { data, width } = where;
  const dy = (i) => Math.floor(i / width) - parts[data[i]].y;
  const dx = (i) => (i % width) - parts[data[i]].x;
  sum(where, parts, "y", (i) => Math.floor(i / width));
  sum(where, parts, "x", (i) => i % width);
  for (const part of parts) [part.y, part.x] = [part.y / part.area, part.x / part.area];
  sum(where, parts, "xx", (i) => dx(i) ** 2);
  sum(where, parts, "yy", (i) => dy(i) ** 2);
  sum(where, parts, "xy", (i) => dx(i) * dy(i));
  for (const part of parts) {
    const [xx, yy, xy] = [part.xx / part.area, part.yy / part.area, part.xy / part.area];
    const half = (xx + yy) / 2;
    const radius = Math.hypot((xx - yy) / 2, xy);
    const angle = 0.5 * Math.atan2(2 * xy, xx - yy); // of the longer axis, 0 is horizontal
    part.thin = Math.sqrt(12 * Math.max(half - radius, 0) + 1); // a pixel's own variance is 1 / 12
    part.long = Math.sqrt(12 * (half + radius) + 1);
    part.lying = Math.abs(angle) < (35 * Math.PI) / 180;
  }
}

/** Give each part its outline, and the fractions of it that are `whole` and `ground`. */
function outlines(where, parts, ink, opposite) {
  const sides = SIDES.map(([dy, dx]) => ({ dy, dx, pixels: pixelsBeside(where, dy, dx) }));
  for (const part of parts) [part.outline, part.whole, part.ground] = [0, 0, 0];
  for (const { pixels } of sides) for (const i of pixels) parts[where.data[i]].outline += 1;
  const shortest = Math.max(3, roundEven(0.75 * opposite.scale));
  const strokes = parts.map(
    ({ area, outline }) => (2 * area) / Math.max((outline * Math.PI) / 4, 1),
  );
  const reaches = strokes.map((stroke) => Math.min(2 * shortest, Math.max(shortest, stroke / 4)));
  const levels = strokes.map((stroke) => {
    const window = opposite.windows.findIndex((size) => size >= stroke);
    return opposite.levels.at(window).data; // of the widest window, if none is as wide
  });
  for (const { dy, dx, pixels } of sides) {
    for (const i of pixels) {
      const k = where.data[i];
      const needed = EDGE * parts[k].contrast * ink.paper.data[i];
      if (edgeAt(ink.grey, i, dy, dx, reaches[k]) >= needed) parts[k].whole += 1;
      const place = pixelBeside(where, i, BEYOND * dy, BEYOND * dx);
      if (levels[k][place] - opposite.clean.data[place] < needed) parts[k].ground += 1;
    }
  }
  for (const part of parts) {
    part.whole /= Math.max(part.outline, 1);
    part.ground /= Math.max(part.outline, 1);
  }
}

/** Return the pixels of parts whose neighbour on a side is in none; beyond the image are none. */
function pixelsBeside(where, dy, dx) {
  const { data, height, width } = where;
  const inside = padded(where, 1, 1);
  const pixels = [];
  for (let row = 0, i = 0; row < height; row++) {
    for (let column = 0; column < width; column++, i++) {
      if (data[i] < 0) continue;
      if (inside.data[(row + 1 + dy) * inside.width + column + 1 + dx] < 0) pixels.push(i);
    }
  }
  return pixels;
}

/** Return how much brighter the image is beyond a side of a pixel than within, as far as a reach. */
function edgeAt(grey, i, dy, dx, reach) {
  let brightest = grey.data[pixelBeside(grey, i, dy, dx)];
  let darkest = grey.data[i];
  for (let step = 1; step <= reach; step++) {
    brightest = Math.max(brightest, grey.data[pixelBeside(grey, i, step * dy, step * dx)]);
    if (step >= reach) break;
    darkest = Math.min(darkest, grey.data[pixelBeside(grey, i, -step * dy, -step * dx)]);
  }
  return brightest - darkest;
}

/** Return the pixel so many rows and columns on; at most at the border. */
function pixelBeside({ height, width }, i, down, across) {
  const row = Math.floor(i / width);
  const column = i - row * width;
  const [y, x] = [row + down, column + across];
  return Math.min(height - 1, Math.max(0, y)) * width + Math.min(width - 1, Math.max(0, x));
}
