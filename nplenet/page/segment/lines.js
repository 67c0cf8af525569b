// Long straight lines, such as the rules of paper, and a mask without them.
//
// A rule is found as in Hough's transform (1962): a line with a slope t that meets the left side at
// row c holds the points with y - t x = c, so for each slope the rows c are counted. The points are
// the middles of the short vertical runs of ink:
//
//     ..............
//     ######.#######   a rule: a run of one pixel in each column
//     ....##........   a stroke across it: a longer run, which stays when the rule is removed
//     ...##.........
//
// A line is {row, slope, left, right, thick}: y = row + slope x for left <= x < right, with runs of
// `thick` pixels in most columns. Points are {x, y, thick}, three arrays.

import { median, roundEven } from "../numbers.js";

const SLOPES = Array.from({ length: 145 }, (_, k) => (k < 144 ? k * (0.72 / 144) - 0.36 : 0.36));
const MAX_THICK = 1 / 40; // of the image's longer side
const MIN_LONG = 0.35; // of the image's longer side
const MIN_COVERED = 0.6; // of the columns between a line's ends
const MAX_LINES = 80;
const APART = 10; // pixels between parallel lines, at least
const PARALLEL = 3; // three lines in parallel need not reach the edge of the image

/** Return the long, thin, nearly horizontal lines of a mask. */
export function rulesOf(mask) {
  const side = Math.max(mask.height, mask.width);
  let points = chosen(middles(mask), ({ thick }, i) => thick[i] <= Math.max(2, MAX_THICK * side));
  const least = MIN_LONG * MIN_COVERED * side;
  const found = [];
  if (points.x.length < least) return found;
  const { offset, rows } = offsets(mask);
  const all = SLOPES.map(() => new Int32Array(rows));
  counts(points, offset, all, 1);
  while (found.length < MAX_LINES) {
    const { count, slope, row } = most(all, offset);
    if (count < least) break;
    const isOn = ({ x, y }, i) => Math.abs(y[i] - slope * x[i] - row) <= 2;
    const on = chosen(points, isOn);
    const line = spanned(on, side);
    if (line) found.push(line);
    counts(on, offset, all, -1);
    points = chosen(points, (every, i) => !isOn(every, i));
  }
  return trusted(found, mask.width);
}

/** Return the line with most points between two rows of a mask, and their number: {line, count}. */
export function strongest(mask, top, bottom, maxThick) {
  const thickest = Math.max(2, maxThick);
  const points = chosen(middles(mask), ({ y, thick }, i) => {
    return y[i] >= top && y[i] < bottom && thick[i] <= thickest;
  });
  const { offset, rows } = offsets(mask);
  const all = SLOPES.map(() => new Int32Array(rows));
  counts(points, offset, all, 1);
  const { slope, row } = most(all, offset);
  const on = chosen(points, ({ x, y }, i) => Math.abs(y[i] - slope * x[i] - row) <= 2);
  const thick = on.x.length ? median(on.thick) : 0;
  return { line: { row, slope, left: 0, right: mask.width, thick }, count: new Set(on.x).size };
}

/** Return the mask without lines, but with the strokes that cross them. */
export function without(mask, lines) {
  const { data, height, width } = mask;
  const { first, last } = runs(mask);
  const change = new Int32Array((height + 1) * width);
  for (const line of lines) {
    for (let x = line.left; x < line.right; x++) {
      const y = roundEven(line.row + line.slope * x);
      for (let at = Math.max(0, y - 2); at <= Math.min(height - 1, y + 2); at++) {
        const i = at * width + x;
        if (!data[i] || last[i] - first[i] + 1 > 1.7 * line.thick + 1) continue;
        change[first[i] * width + x] += 1;
        change[(last[i] + 1) * width + x] -= 1;
      }
    }
  }
  for (let i = width; i < change.length; i++) change[i] += change[i - width];
  return { data: data.map((v, i) => (change[i] === 0 ? v : 0)), height, width };
}

/** Return a mask with rows and columns exchanged. */
export function transposed({ data, height, width }) {
  const out = new data.constructor(data.length);
  for (let r = 0; r < height; r++) {
    for (let c = 0; c < width; c++) out[c * height + r] = data[r * width + c];
  }
  return { data: out, height: width, width: height };
}

/** Return the first and the last row of each pixel's vertical run, in whole images. */
function runs(mask) {
  const { height, width } = mask;
  const { starts, stops } = ends(mask);
  const [first, last] = [new Int32Array(starts.length), new Int32Array(starts.length)];
  for (let i = 0; i < first.length; i++)
    first[i] = starts[i] ? Math.floor(i / width) : i >= width ? first[i - width] : 0;
  const end = last.length - width;
  for (let i = last.length - 1; i >= 0; i--)
    last[i] = stops[i] ? Math.floor(i / width) : i < end ? last[i + width] : height;
  return { first, last };
}

/** Return where vertical runs start and where they end. */
function ends({ data, width }) {
  const [starts, stops] = [data.slice(), data.slice()];
  for (let i = width; i < data.length; i++) {
    if (data[i - width]) starts[i] = 0;
    if (data[i]) stops[i - width] = 0;
  }
  return { starts, stops };
}

/** Return of each vertical run its column, the row of its middle, and its length. */
function middles(mask) {
  const { height, width } = mask;
  const { starts, stops } = ends(mask);
  const points = { x: [], y: [], thick: [] };
  for (let x = 0; x < width; x++) {
    for (let row = 0, top = 0; row < height; row++) {
      if (starts[row * width + x]) top = row;
      if (!stops[row * width + x]) continue;
      points.x.push(x);
      points.y.push((top + row) / 2);
      points.thick.push(row - top + 1);
    }
  }
  return points;
}

/** Return the points for which a condition holds. */
function chosen(points, condition) {
  const places = points.x.map((_, i) => i).filter((i) => condition(points, i));
  const of = (values) => places.map((i) => values[i]);
  return { x: of(points.x), y: of(points.y), thick: of(points.thick) };
}

/** Add a number to how many points each line holds, for each slope a list of rows. */
function counts({ x, y }, offset, all, change) {
  all.forEach((rows, k) => {
    const slope = SLOPES[k];
    for (let i = 0; i < x.length; i++) rows[roundEven(y[i] - slope * x[i]) + offset] += change;
  });
}

/** Return the place of row 0 among the rows at which a line may meet the left side; and all. */
function offsets({ height, width }) {
  const offset = Math.trunc(SLOPES.at(-1) * width) + 2;
  return { offset, rows: height + 2 * offset };
}

/** Return how many points the best line holds, of three rows each; its slope and its row. */
function most(all, offset) {
  const best = { count: -1, slope: 0, row: 0 };
  all.forEach((row, k) => {
    for (let c = 0; c < row.length; c++) {
      const near = row[c] + (c ? row[c - 1] : 0) + (c + 1 < row.length ? row[c + 1] : 0);
      if (near > best.count)
        Object.assign(best, { count: near, slope: SLOPES[k], row: c - offset });
    }
  });
  return best;
}

/** Return the line through points, or null if they are too few or too sparse. */
function spanned(points, side) {
  const columns = [...new Set(points.x)].sort((a, b) => a - b);
  const pieces = [[]];
  columns.forEach((x, i) => {
    if (i && x - columns[i - 1] > 0.3 * side) pieces.push([]);
    pieces.at(-1).push(x);
  });
  const piece = pieces.reduce((longest, one) => (one.length > longest.length ? one : longest));
  const few = Math.floor(piece.length / 30); // points of noise may lie beyond the ends
  const dense = 3 * few;
  const end = piece.length - 1;
  const left = piece[few] - piece[0] <= dense ? piece[0] : piece[few];
  const right = (piece[end] - piece[end - few] <= dense ? piece[end] : piece[end - few]) + 1;
  if (right - left < MIN_LONG * side || piece.length < MIN_COVERED * (right - left)) return null;
  const { x, y, thick } = chosen(points, ({ x: all }, i) => all[i] >= left && all[i] < right);
  return { ...straight(x, y), left, right, thick: median(thick) };
}

/** Return slope and row of the line with the least squares of distances to points. */
function straight(x, y) {
  const mean = (values) => values.reduce((sum, v) => sum + v, 0) / values.length;
  const [mx, my] = [mean(x), mean(y)];
  let [xx, xy] = [0, 0];
  for (let i = 0; i < x.length; i++) {
    xx += (x[i] - mx) ** 2;
    xy += (x[i] - mx) * (y[i] - my);
  }
  return { slope: xy / xx, row: my - (xy / xx) * mx };
}

/** Leave out lines that may be strokes of a digit: they end within the image, and are few. */
function trusted(lines, width) {
  return lines.filter((line) => {
    const near = lines.filter((other) => Math.abs(line.slope - other.slope) < 0.03);
    const parallel = new Set(near.map((other) => roundEven((line.row - other.row) / APART))).size;
    const reaches = line.left <= 0.06 * width || line.right >= 0.94 * width;
    return reaches || parallel >= PARALLEL;
  });
}
