// The shape of a mask: reduced to few pixels, and the width of its widest stroke.

const GRID = 64;

/** Return a mask in at most 64x64 pixels with a rim of 0 around it, `small`, and the scale, `step`. */
export function reduced(mask) {
  const step = Math.ceil(Math.max(mask.height, mask.width) / GRID);
  const [height, width] = [mask.height, mask.width].map((side) => Math.ceil(side / step) + 2);
  const sums = new Uint16Array(height * width);
  mask.data.forEach((v, i) => {
    const [row, column] = [Math.floor(i / mask.width), i % mask.width];
    sums[(1 + Math.floor(row / step)) * width + 1 + Math.floor(column / step)] += v;
  });
  const data = Uint8Array.from(sums, (sum) => (sum >= 0.5 * step * step ? 1 : 0));
  return { small: { data, height, width }, step };
}

/**
 * Return the width of the widest stroke of a mask with a rim of 0.
 *
 * The mask is eroded until nothing is left.
 */
export function widest({ data, width }) {
  const beside = [1, -1, width, -width];
  let times = 0;
  for (let left = data; left.includes(1); times++) {
    const now = left;
    left = now.map((v, i) => (v && beside.every((d) => now[i + d]) ? 1 : 0));
  }
  return 2 * times - 1;
}
