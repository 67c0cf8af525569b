// Papers that are hardly larger than their digit, so that its strokes cut them into pieces.
//
// ..##......    - is paper, # a stroke, . a table as dark as ink: each piece of the paper looks
// .-##----..    like light ink on the table, with an edge all around, and the digit has no edge
// .--##---..    where it leaves the paper. But pieces and strokes together have four corners,
// .---##--..    which a light digit and the spaces between its strokes seldom have.
// ....##....

import { strokeWidth } from "./form.js";
import { labelled, WHOLE } from "./parts.js";
import { reduced, widest } from "./shapes.js";
import { cropped, dilated, eroded, padded } from "./windows.js";

const MIN_SIDE = 1 / 20; // of the image's longer side
const MIN_PAPER = 0.3; // fraction of the whole that is paper
const MIN_FILLED = 0.82; // fraction of the hull that pieces and strokes fill
const MIN_BORDER = 0.4; // fraction of the hull's border that is paper: strokes cross the rest
const INK = [0.04, 0.65]; // fraction of the hull that is ink
const MIN_REACH = 0.55; // of the hull's side: a smaller digit has paper all around
const MIN_FAT = 1.2; // width of the widest piece over the mean width of the strokes
const FOUR_SIDED = 0.9; // fraction of the hull in four of its points: 0.77 to 0.9 of printed digits
const RECTANGLE = 0.78; // and of the least rectangle around it: 0.6 of a 7
const MAX_LONG = 3; // times as long as wide
const MIN_ON_NOTE = 0.7; // fraction of a part that lies on its note
const RIM = 3; // pixels inside the outline: a stroke that ends there ends with the paper
const MIN_SHOWN = 0.6; // fraction of the ink on a note that one digit holds
const PIECE = 0.1; // factor for the score of a piece of paper
const TURNS = Array.from({ length: 60 }, (_, k) => (3 * k * Math.PI) / 180);

/** A paper with its digit. */
class Note {
  /**
   * @param light whether the digit is light
   * @param where, inner masks: 1 within the paper's outline; and away from it
   * @param ink a mask, the digit as far as it is on the paper
   */
  constructor(light, where, inner, ink) {
    Object.assign(this, { light, where, inner, ink });
  }

  /**
   * Return the factors for the scores of parts: 1 for what is elsewhere.
   *
   * A piece of paper loses. For a digit it counts how much of the ink on the paper it holds, but not
   * where its outline has no edge because the paper ends there. If no digit holds most of the ink,
   * this is no note: it may be paper between shadows, or a sheet full of digits.
   */
  factors(parts) {
    const all = count(this.ink.data);
    let explained = false;
    const factors = parts.map((part) => {
      const mask = part.mask();
      if (on(part, mask.data, this.where) <= MIN_ON_NOTE * count(mask.data)) return 1;
      if (part.light !== this.light) return PIECE;
      const shown = on(part, mask.data, this.ink) / all;
      explained ||= shown >= MIN_SHOWN && !part.edges;
      const inside = cropped(eroded(padded(mask, 1, 1, 0), 3), 1, 1, mask.height, mask.width).data;
      const outline = mask.data.map((v, i) => v & (1 - inside[i]));
      const ends = 1 - on(part, outline, this.inner) / count(outline);
      return shown ** 2 * (Math.min(1, part.whole + ends) / part.whole) ** WHOLE;
    });
    return explained ? factors : parts.map(() => 1);
  }
}

/** Return how many pixels of a part's box are in a mask, of those that count. */
function on(part, counting, mask) {
  const inside = cropped(mask, part.top, part.left, part.height, part.width).data;
  return counting.reduce((sum, v, i) => sum + (v & inside[i]), 0);
}

/** Return the notes whose pieces are in one mask, their strokes in the other. */
export function notesOf(paper, ink, light) {
  const { height, width } = paper;
  const either = { height, width, data: paper.data.map((v, i) => v | ink.data[i]) };
  const { where, count: many } = labelled(dilated(eroded(either, 5), 5));
  const boxes = Array.from({ length: many }, () => {
    return { area: 0, pieces: 0, top: height, left: width, bottom: 0, right: 0 };
  });
  where.data.forEach((k, i) => {
    if (k < 0) return;
    const [row, column] = [Math.floor(i / width), i % width];
    const box = boxes[k];
    box.area += 1;
    box.pieces += paper.data[i];
    [box.top, box.bottom] = [Math.min(box.top, row), Math.max(box.bottom, row + 1)];
    [box.left, box.right] = [Math.min(box.left, column), Math.max(box.right, column + 1)];
  });
  const found = [];
  boxes.forEach(({ area, pieces, top, left, bottom, right }, k) => {
    if (area <= (MIN_SIDE * Math.max(height, width)) ** 2 || pieces <= MIN_PAPER * area) return;
    const part = (mask) => cropped(mask, top, left, bottom - top, right - left);
    const own = part(where).data;
    const piece = part(paper);
    piece.data = piece.data.map((v, i) => (own[i] === k ? v : 0));
    const hull = hullOfNote(piece, part(ink));
    if (!hull) return;
    const whole = { data: new Uint8Array(height * width), height, width };
    for (let row = 0; row < hull.height; row++) {
      const line = hull.data.subarray(row * hull.width, (row + 1) * hull.width);
      whole.data.set(line, (top + row) * width + left);
    }
    const digit = { ...whole, data: whole.data.map((v, i) => v & ink.data[i]) };
    found.push(new Note(light, whole, eroded(whole, 2 * RIM + 1), digit));
  });
  return found;
}

/** Return the convex hull of a note's pieces, or null if they are not a note's. */
function hullOfNote(pieces, strokes) {
  const { small: paper, step } = reduced(pieces);
  if (!paper.data.includes(1)) return null;
  const { mask, fourSided } = hull(paper);
  if (!fourSided) return null;
  const dark = reduced(strokes).small;
  const ink = { ...dark, data: dark.data.map((v, i) => v & mask.data[i]) };
  const inner = eroded(mask, 5).data;
  const border = mask.data.map((v, i) => v & (1 - inner[i]));
  const area = count(mask.data);
  const reach = Math.max(...[0, 1].map((axis) => extent(ink, axis) / extent(mask, axis)));
  const share = count(ink.data) / area;
  const fits =
    count(mask.data.map((v, i) => v & (paper.data[i] | ink.data[i]))) >= MIN_FILLED * area &&
    count(border.map((v, i) => v & paper.data[i])) >= MIN_BORDER * count(border) &&
    INK[0] <= share &&
    share <= INK[1] &&
    reach >= MIN_REACH &&
    widest(paper) >= MIN_FAT * strokeWidth(ink);
  if (!fits) return null;
  const { height, width } = pieces;
  const data = Uint8Array.from({ length: height * width }, (_, i) => {
    const [row, column] = [Math.floor(i / width), i % width];
    return mask.data[(1 + Math.floor(row / step)) * mask.width + 1 + Math.floor(column / step)];
  });
  return { data, height, width };
}

/**
 * Return the convex hull of a mask, and whether it has four corners.
 *
 * It is compared with the quadrilateral of the two points farthest apart, and of the points farthest
 * from the line through them, on both sides; and with the least rectangle around it.
 */
function hull({ data, height, width }) {
  const points = [...data.keys()]
    .filter((i) => data[i])
    .map((i) => [i % width, Math.floor(i / width)]);
  const spans = TURNS.map((turn) => spanOf(points, Math.cos(turn), Math.sin(turn)));
  const inside = Uint8Array.from(data, (_, i) => {
    const [x, y] = [i % width, Math.floor(i / width)];
    const isIn = ({ across, down, low, side }) => {
      const place = across * x + down * y - low;
      return place >= -0.5 && place <= side + 0.5;
    };
    return spans.every(isIn) ? 1 : 0;
  });
  const half = TURNS.length / 2; // of the rectangles: a quarter turn lies between them
  const rectangles = spans
    .slice(0, half)
    .map(({ side }, k) => [side + 1, spans[k + half].side + 1]);
  const areaOf = ([one, other]) => one * other;
  const least = rectangles.reduce((a, b) => (areaOf(b) < areaOf(a) ? b : a));
  const long = Math.max(...least) / Math.min(...least);
  const ends = [...spans.map(({ last }) => last), ...spans.map(({ first }) => first)];
  const area =
    Math.abs(ends.reduce((sum, p, i) => sum + cross(p, ends[(i + 1) % ends.length]), 0)) / 2;
  let far = { apart: -1 };
  for (const start of ends) {
    for (const end of ends) {
      const apart = Math.hypot(start[0] - end[0], start[1] - end[1]);
      if (apart > far.apart) far = { apart, start, end };
    }
  }
  const from = (point) => [point[0] - far.start[0], point[1] - far.start[1]];
  const heights = ends.map((point) => cross(from(point), from(far.end)));
  const quadrilateral = (Math.max(...heights) - Math.min(...heights)) / 2; // of two triangles
  const fourSided =
    quadrilateral >= FOUR_SIDED * area &&
    count(inside) >= RECTANGLE * areaOf(least) &&
    long <= MAX_LONG;
  return { mask: { data: inside, height, width }, fourSided };
}

/** Return the extent of points in a direction, and the first points at both its ends. */
function spanOf(points, across, down) {
  let [low, high, first, last] = [Infinity, -Infinity, null, null];
  for (const point of points) {
    const place = across * point[0] + down * point[1];
    if (place < low) [low, first] = [place, point];
    if (place > high) [high, last] = [place, point];
  }
  return { across, down, low, side: high - low, first, last };
}

function cross(a, b) {
  return a[0] * b[1] - a[1] * b[0];
}

/** Return the number of columns (axis 0) or rows (1) from the first to the last pixel. */
function extent({ data, height, width }, axis) {
  const size = axis ? height : width;
  const there = Array.from({ length: size }, () => 0);
  data.forEach((v, i) => (there[axis ? Math.floor(i / width) : i % width] |= v));
  return there.includes(1) ? there.lastIndexOf(1) - there.indexOf(1) + 1 : 0;
}

function count(mask) {
  return mask.reduce((sum, v) => sum + v, 0);
}
