// Parts that are one digit: the bar of a 5, the two strokes of a 4, what a dry pen left.
//
//      ##              the parts of a 4: side by side, the smaller one less than 0.6 as long,
// #    ##              the gap a fifth of the height or less
// ####.##
//      ##   ____       a bar that lies below is a rule that someone drew

import { Part } from "./parts.js";

const MIN_WHOLE = 0.5; // below it a part is a shadow or a piece of something wide
const MIN_SIDE = 0.08; // of the larger part: what is smaller is a speck
const MAX_CONTRASTS = 3; // one part has at most three times the other's contrast
const MAX_STROKES = 4; // and four times the width of its strokes
const MAX_ASPECT = 1.25; // width / height of a digit
const MAX_DOT_GAP = 0.3; // between a dot and a stroke, as a fraction of the stroke's height
const FRAMED = 0.3; // fraction of a frame's side that what it frames has at least

/** Return parts joined to digits; frames around others, shadows and specks stay out. */
export function groups(parts) {
  const sound = parts.filter((part) => part.whole >= MIN_WHOLE);
  let left = sound.filter((a) => !sound.some((b) => b !== a && frames(a, b)));
  for (let found = pair(left); found; found = pair(left)) {
    left = left.filter((part) => !found.includes(part));
    left.push(merged(...found));
    left.sort((a, b) => b.longer - a.longer);
  }
  return left;
}

/** Return whether the box of a holds b, which is not much smaller; one side may touch. */
export function frames(a, b) {
  const slack = 0.04 * a.longer;
  const inner = [a.top - b.top, a.left - b.left, b.bottom - a.bottom, b.right - a.right];
  const within = inner.every((distance) => distance < slack);
  const apart = inner.filter((distance) => distance < 0).length;
  return within && apart >= 3 && b.longer >= FRAMED * a.longer;
}

/** Return the first two parts that belong together, of parts with the longest first; or null. */
function pair(parts) {
  for (let i = 0; i < parts.length; i++) {
    const a = parts[i];
    for (let j = i + 1; j < parts.length; j++) {
      const b = parts[j];
      if (b.longer < MIN_SIDE * a.longer) break;
      if (!a.edges && !b.edges && together(a, b)) return [a, b];
    }
  }
  return null;
}

/** Return whether two parts are one digit; a is the longer one. */
function together(a, b) {
  const across = Math.max(a.left, b.left) - Math.min(a.right, b.right); // gaps, below 0 where they
  const down = Math.max(a.top, b.top) - Math.min(a.bottom, b.bottom); // overlap
  const height = Math.max(a.bottom, b.bottom) - Math.min(a.top, b.top);
  const width = Math.max(a.right, b.right) - Math.min(a.left, b.left);
  if (dotted(a, b)) return true;
  if (Math.max(across, down) > 0.7 * b.longer || width > MAX_ASPECT * height) return false;
  if (under(a, b) || under(b, a)) return false;
  if (Math.max(a.contrast, b.contrast) > MAX_CONTRASTS * Math.min(a.contrast, b.contrast))
    return false;
  if (Math.max(a.stroke, b.stroke) > MAX_STROKES * Math.min(a.stroke, b.stroke)) return false;
  const ratio = b.longer / a.longer;
  const near = ratio >= 0.6 ? 0.05 : ratio >= 0.25 ? 0.2 : 0.1;
  if (across <= 0 && down <= 0) return true;
  if (across <= 0)
    // one above the other
    return -across >= 0.3 * Math.min(a.width, b.width) && down <= Math.max(0.1, near) * height;
  if (down <= 0) {
    // side by side
    const compact = ratio >= 0.6 || width <= 1.1 * height;
    return -down >= 0.4 * Math.min(a.height, b.height) && across <= near * height && compact;
  }
  return Math.hypot(across, down) <= 0.06 * height;
}

/** Return whether b is the dot above a stroke: the two are an i or a j, and a alone is no 1. */
function dotted(a, b) {
  const [gap, middle] = [a.top - b.bottom, (b.left + b.right) / 2];
  const beside = Math.max(a.left - middle, middle - a.right);
  const near = 0 < gap && gap <= MAX_DOT_GAP * a.height && beside <= b.width;
  const compact = b.longer <= 1.5 * Math.min(b.width, b.height);
  const [size, contrast] = [b.longer / a.stroke, a.contrast / b.contrast];
  const alike = size >= 0.8 && size <= 2.5 && contrast >= 2 / 3 && contrast <= 1.5;
  return near && compact && alike && a.width <= 0.6 * a.height;
}

/** Return whether b is a straight line under a. */
function under(a, b) {
  return b.flat && b.bar && b.long >= 5 * b.thin && b.top >= a.bottom - 0.1 * a.height;
}

function merged(a, b) {
  const share = a.area / (a.area + b.area);
  const mean = (name) => share * a[name] + (1 - share) * b[name];
  return new Part({
    ...a,
    labels: [...a.labels, ...b.labels],
    top: Math.min(a.top, b.top),
    left: Math.min(a.left, b.left),
    bottom: Math.max(a.bottom, b.bottom),
    right: Math.max(a.right, b.right),
    area: a.area + b.area,
    outline: a.outline + b.outline,
    edges: Math.max(a.edges, b.edges),
    contrast: mean("contrast"),
    whole: mean("whole"),
    ground: mean("ground"),
    full: mean("full"),
  });
}
