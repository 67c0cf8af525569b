// Numbers as Python and NumPy round, sort and average them.

const MAGIC = 1.5 * 2 ** 52; // so large that the fraction of what is added is rounded away

/** Round to the nearest whole number, halves to the even one. */
export function roundEven(x) {
  return x + MAGIC - MAGIC;
}

/** Return the median. */
export function median(values) {
  return percentiles(values, [50])[0];
}

/** Return for each P of `percents` the value below which P % of the values lie. */
export function percentiles(values, percents) {
  const sorted = (ArrayBuffer.isView(values) ? values.slice() : Float64Array.from(values)).sort();
  return percents.map((percent) => {
    const place = (percent / 100) * (sorted.length - 1);
    const below = Math.floor(place);
    const above = sorted[Math.min(below + 1, sorted.length - 1)];
    return sorted[below] + (above - sorted[below]) * (place - below);
  });
}

/** Return the largest of some values, and 0 of none. */
export function most(values) {
  return values.reduce((largest, v) => Math.max(largest, v), 0);
}
