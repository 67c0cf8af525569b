// The digits of a photo on the board, as the board is turned.

import { imageOf } from "./recognize.js";
import { inReadingOrder } from "./segment/choose.js";

/**
 * Return the digits of a photo, their boxes in pixels of the board.
 *
 * @param item {picture, digits} of the photo
 * @param place {x, y, width, height} of the photo on the board before it is turned
 * @param degrees by which the board is turned about its middle, clockwise
 * @param size of the board
 */
export function digitsOnBoard({ picture, digits }, place, degrees, size) {
  const scale = place.width / picture.width;
  const upright = digits.map(({ box, image }) => {
    const [top, left] = [place.y + box.top * scale, place.x + box.left * scale];
    return { box: { top, left, height: box.height * scale, width: box.width * scale }, image };
  });
  if (degrees % 360 === 0) return upright;
  const turned = digits.map((digit, i) => turnedDigit(digit, upright[i].box, scale, degrees, size));
  const ordered = inReadingOrder(
    turned.map((digit) => {
      const { top, left, height, width } = digit.box;
      return { digit, top, left, bottom: top + height, right: left + width };
    }),
  );
  return ordered.map(({ digit }) => digit);
}

/** Turn a digit about the middle of the board, and its mask about its own. */
function turnedDigit({ mask, scale: maskScale }, box, scale, degrees, size) {
  const angle = (degrees * Math.PI) / 180;
  const [x, y] = [box.left + (box.width - size) / 2, box.top + (box.height - size) / 2];
  const middle = {
    x: size / 2 + x * Math.cos(angle) - y * Math.sin(angle),
    y: size / 2 + x * Math.sin(angle) + y * Math.cos(angle),
  };
  const turned = turnedMask(mask, angle);
  const [height, width] = [turned.height, turned.width].map((side) => (side * scale) / maskScale);
  const corner = { top: middle.y - height / 2, left: middle.x - width / 2 };
  return { box: { ...corner, height, width }, image: imageOf(turned) };
}

/** Return a mask, turned by an angle and cropped. */
function turnedMask({ data, height, width }, angle) {
  const middle = Math.ceil(Math.hypot(height, width) / 2) + 2;
  const side = 2 * middle;
  const flat = new OffscreenCanvas(width, height);
  const image = new ImageData(width, height);
  data.forEach((v, i) => (image.data[4 * i + 3] = 255 * v));
  flat.getContext("2d").putImageData(image, 0, 0);
  const context = new OffscreenCanvas(side, side).getContext("2d", { willReadFrequently: true });
  // About a corner of pixels, so that a quarter turn maps pixels to pixels.
  context.translate(middle, middle);
  context.rotate(angle);
  context.drawImage(flat, -(width >> 1), -(height >> 1));
  const alpha = context.getImageData(0, 0, side, side).data;
  const isInk = (row, column) => alpha[4 * (row * side + column) + 3] > 127;
  const all = Array.from({ length: side }, (_, n) => n);
  const rows = all.filter((row) => all.some((column) => isInk(row, column)));
  const columns = all.filter((column) => all.some((row) => isInk(row, column)));
  const [top, left] = [rows[0], columns[0]];
  const box = { height: rows.at(-1) - top + 1, width: columns.at(-1) - left + 1 };
  const cropped = Uint8Array.from({ length: box.height * box.width }, (_, i) =>
    isInk(top + Math.floor(i / box.width), left + (i % box.width)) ? 1 : 0,
  );
  return { data: cropped, ...box };
}
