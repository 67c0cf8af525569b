// Bring the digits of a photo into MNIST's form: nplenet/recognize.py.

import { roundEven } from "./numbers.js";
import { find } from "./segment/find.js";
import { asMnist } from "./segment/form.js";

const MIN_DIGIT_SIDE = 8; // pixels; a smaller part is a speck, not a digit
const [SIDE, PADDED] = [28, 32]; // of MNIST's images; of LeNet-5's
const NO_INK = "No digit: no ink stands out from the paper. Use a darker pen or better light.";
const TOO_SMALL =
  "No digit: every part of the ink is smaller than 8 pixels. Take it from nearer by.";

/**
 * Find the digits in a picture, in reading order: line by line, each from left to right.
 *
 * @param picture {channels, height, width}: bytes of one channel or three
 * @returns a list of {box, mask, scale, image}: box is {top, left, height, width} in the picture's
 *   pixels; mask the digit in its box, in pixels of which `scale` make one of the picture's; image the
 *   digit in the form of MNIST's, Uint8Array (32 * 32), ink 255
 * @throws NoDigitError
 */
export function findDigits(picture) {
  const { digits, scale } = found(picture);
  return digits.map((part) => digit(part, scale));
}

export class NoDigitError extends Error {}

/** Return a digit, a mask, as the network takes it: Uint8Array (32 * 32). */
export function imageOf(mask) {
  const image = asMnist(mask);
  const padded = new Uint8Array(PADDED * PADDED);
  const border = (PADDED - SIDE) / 2;
  for (let r = 0; r < SIDE; r++)
    padded.set(image.subarray(r * SIDE, (r + 1) * SIDE), (r + border) * PADDED + border);
  return padded;
}

function digit(part, scale) {
  const sides = [part.top, part.left, part.bottom, part.right];
  const [top, left, bottom, right] = sides.map((side) => roundEven(side / scale));
  const [height, width] = [Math.max(bottom - top, 1), Math.max(right - left, 1)];
  const mask = part.mask();
  return { box: { top, left, height, width }, mask, scale, image: imageOf(mask) };
}

function found(picture) {
  const { best, digits, scale } = find(picture);
  if (!best.length) throw new NoDigitError(NO_INK);
  const least = Math.min(MIN_DIGIT_SIDE, Math.max(picture.height, picture.width) / 2) - 0.5;
  if (best[0].longer / scale < least) throw new NoDigitError(TOO_SMALL);
  return { digits, scale };
}
