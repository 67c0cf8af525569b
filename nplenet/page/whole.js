// A whole picture becomes the network's image, for one that was trained on whole pictures: what
// nplenet.data.Pictures.read does.

import { resize } from "./prepare.js";

/**
 * Shrink a picture, put black around it, and invert it if its polarity is not that of the training.
 *
 * @param grey {data, height, width} of 0 to 255
 * @param size [height, width] to which the training shrank pictures, at most side
 * @param polarity "light on dark" or "dark on light"; null for images of both
 * @returns Uint8Array (side * side)
 */
export function wholePicture(grey, [height, width], polarity, side) {
  const small = resize(grey, height, width);
  const image = new Uint8Array(side * side);
  const [top, left] = [Math.floor((side - height) / 2), Math.floor((side - width) / 2)];
  small.data.forEach((v, i) => {
    image[(top + Math.floor(i / width)) * side + left + (i % width)] = Math.round(v);
  });
  return polarity && polarity !== polarityOf(image, side) ? image.map((v) => 255 - v) : image;
}

/** Tell what stands before what by the border: most of it is background. */
function polarityOf(image, side) {
  const border = image.filter((_, i) => {
    const [row, column] = [Math.floor(i / side), i % side];
    return Math.min(row, column) === 0 || Math.max(row, column) === side - 1;
  });
  const dark = border.filter((v) => v < 128).length;
  return dark > border.length / 2 ? "light on dark" : "dark on light";
}
