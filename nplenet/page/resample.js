// Images in other sizes, as Pillow makes them: src/libImaging/Resample.c and Reduce.c.
//
// An image is {data, height, width}, data in row-major order: bytes are rounded to bytes, floats to
// floats of 32 bits.

/** Resize with a triangle, which averages to shrink and interpolates to enlarge. */
export const bilinear = { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) };

/** Resize with the cubic of Keys (1981), a = -1/2. */
export const bicubic = {
  support: 2,
  weight(x) {
    const d = Math.abs(x);
    if (d < 1) return (1.5 * d - 2.5) * d * d + 1;
    return d < 2 ? ((-0.5 * d + 2.5) * d - 4) * d + 2 : 0;
  },
};

/** Return an image in another size: columns first, then rows. */
export function resized(image, height, width, filter = bilinear) {
  const wide = width === image.width ? image : resizedAcross(image, width, filter);
  return height === wide.height ? wide : resizedDown(wide, height, filter);
}

function resizedAcross({ data, height, width }, columns, filter) {
  const out = new data.constructor(height * columns);
  const isByte = data instanceof Uint8Array;
  coefficients(width, columns, filter).forEach(({ first, weights }, c) => {
    for (let row = 0; row < height; row++) {
      let sum = 0;
      const start = row * width + first;
      for (let k = 0; k < weights.length; k++) sum += weights[k] * data[start + k];
      out[row * columns + c] = isByte ? toByte(sum) : sum;
    }
  });
  return { data: out, height, width: columns };
}

function resizedDown({ data, height, width }, rows, filter) {
  const out = new data.constructor(rows * width);
  const isByte = data instanceof Uint8Array;
  const sums = new Float64Array(width);
  coefficients(height, rows, filter).forEach(({ first, weights }, r) => {
    sums.fill(0);
    weights.forEach((weight, k) => {
      const start = (first + k) * width;
      for (let c = 0; c < width; c++) sums[c] += weight * data[start + c];
    });
    for (let c = 0; c < width; c++) out[r * width + c] = isByte ? toByte(sums[c]) : sums[c];
  });
  return { data: out, height: rows, width };
}

/** Return for each of the new pixels the first old one that counts, and the weights from there on. */
function coefficients(size, count, { support, weight }) {
  const scale = size / count;
  const stretch = Math.max(scale, 1);
  const reach = support * stretch;
  return Array.from({ length: count }, (_, i) => {
    const middle = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(middle - reach + 0.5));
    const last = Math.min(size, Math.trunc(middle + reach + 0.5));
    const weights = Float64Array.from({ length: last - first }, (_, k) =>
      weight((first + k - middle + 0.5) / stretch),
    );
    const total = weights.reduce((sum, w) => sum + w, 0);
    return { first, weights: weights.map((w) => w / total) };
  });
}

function toByte(v) {
  return Math.min(255, Math.max(0, Math.floor(v + 0.5)));
}

/** Return the mean of a number of bytes from their sum, as Pillow rounds it. */
export function meanOfBytes(sum, count) {
  const reciprocal = Math.floor(2 ** 24 / count);
  return Math.floor(((sum + (count >> 1)) * reciprocal) / 2 ** 24);
}
