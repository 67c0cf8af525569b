// A whole picture becomes the network's image, for one that was trained on whole pictures: what
// nplenet/data/pictures.py does.

import { median } from "./numbers.js";
import { resized } from "./resample.js";

const [LIGHT, DARK] = ["light on dark", "dark on light"];

/**
 * Shrink a picture, put black around it, and invert it if its polarity is not that of the training.
 *
 * @param picture {channels, height, width}: bytes of one channel or three
 * @param size [height, width] to which the training shrank pictures, at most side
 * @param wanted "light on dark" or "dark on light"; null for images of both
 * @returns Uint8Array (side * side)
 */
export function wholePicture({ channels, height, width }, size, wanted, side) {
  const isLarger = height > size[0] || width > size[1];
  const small = channels.map((data) => {
    const image = { data, height, width };
    return isLarger ? resized(image, ...size) : image;
  });
  const grey = { ...small[0], data: grayscale(small.map(({ data }) => data)) };
  return inPolarity(padded(padded(grey, ...size), side, side).data, wanted, side);
}

/** Return luminance as Pillow computes it (ITU-R BT.601). */
function grayscale([red, green, blue]) {
  if (!green) return red;
  return red.map((v, i) => (19595 * v + 38470 * green[i] + 7471 * blue[i] + 32768) >> 16);
}

function inPolarity(image, wanted, side) {
  return wanted && wanted !== polarity(image, side) ? image.map((v) => 255 - v) : image;
}

/** Tell what stands before what by the border, which is background. */
function polarity(image, side) {
  const rim = [];
  for (let i = 0; i < side; i++) {
    const [bottom, right] = [(side - 1) * side + i, i * side + side - 1];
    rim.push(image[i], image[bottom], image[i * side], image[right]);
  }
  return median(rim) < 128 ? LIGHT : DARK;
}

function padded(image, height, width) {
  const out = { data: new Uint8Array(height * width), height, width };
  const [top, left] = [(height - image.height) >> 1, (width - image.width) >> 1];
  image.data.forEach((v, i) => {
    const row = top + Math.floor(i / image.width);
    out.data[row * width + left + (i % image.width)] = v;
  });
  return out;
}
