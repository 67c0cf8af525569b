// A picture's file becomes pixels, upright and shrunk: nplenet/data/picture_file.py.
//
// A phone's photo has 12 to 50 million pixels. So the decoded image is shrunk strip by strip.

import { meanOfBytes } from "./resample.js";

const MIN_KEPT_SIDE = 1024; // pixels of the longer side that shrinking keeps
const DRAFTS = [8, 4, 2]; // of these parts of its size a JPEG may be decoded in Python
const STRIP = 512; // rows, about

/**
 * Read a picture as colours, shrunk by a whole factor; its longer side stays below 2048 pixels.
 *
 * @param file a File or Blob
 * @returns {channels, height, width}: red, green and blue, each a Uint8Array (height * width)
 * @throws an error where the browser cannot read the file as a picture
 */
export async function readPhoto(file) {
  // Upright, as EXIF says; its colours as they stand in the file, as Pillow takes them.
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  const isJpeg = file.type === "image/jpeg";
  const photo = shrunk(bitmap, factorOf(bitmap, isJpeg), isJpeg ? 255 : paperOf(bitmap));
  bitmap.close();
  return photo;
}

function factorOf({ height, width }, isJpeg) {
  const least = Math.floor(Math.min(height, width) / MIN_KEPT_SIDE);
  const draft = (isJpeg && DRAFTS.find((part) => part <= least)) || 1;
  const longer = Math.ceil(Math.max(height, width) / draft);
  return draft * Math.max(1, Math.floor(longer / MIN_KEPT_SIDE));
}

/** Return the grey level of what is transparent: black around light ink, otherwise white. */
function paperOf(bitmap) {
  let [light, opaque] = [0, 0];
  for (const { data } of strips(bitmap, STRIP)) {
    for (let i = 0; i < data.length; i += 4) {
      const alpha = data[i + 3] / 255;
      light += alpha * (0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2]);
      opaque += alpha;
    }
  }
  return light > 127.5 * opaque ? 0 : 255;
}

/** Yield the pixels of a picture (RGBA), so many rows at a time. */
function* strips(bitmap, rows) {
  const canvas = new OffscreenCanvas(bitmap.width, rows);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  for (let top = 0; top < bitmap.height; top += rows) {
    context.clearRect(0, 0, bitmap.width, rows);
    context.drawImage(bitmap, 0, -top);
    yield context.getImageData(0, 0, bitmap.width, Math.min(rows, bitmap.height - top));
  }
}

/** Return the means of squares of factor * factor pixels; what is transparent shows the paper. */
function shrunk(bitmap, factor, paper) {
  const [height, width] = [bitmap.height, bitmap.width].map((side) => Math.ceil(side / factor));
  const channels = [0, 1, 2].map(() => new Uint8Array(height * width));
  const photo = { channels, height, width };
  let outRow = 0;
  for (const strip of strips(bitmap, factor * Math.max(1, Math.floor(STRIP / factor)))) {
    compose(strip.data, paper);
    for (let row = 0; row * factor < strip.height; row++)
      averageRow(strip, row, factor, photo, outRow++);
  }
  return photo;
}

/** Put pixels (RGBA) on the paper. */
function compose(pixels, paper) {
  for (let i = 0; i < pixels.length; i += 4) {
    if (pixels[i + 3] === 255) continue;
    const alpha = pixels[i + 3] / 255;
    for (let c = i; c < i + 3; c++) pixels[c] = Math.round(paper + (pixels[c] - paper) * alpha);
  }
}

/** Average the squares of one row of the small photo. */
function averageRow({ data, height, width }, row, factor, photo, outRow) {
  const bottom = Math.min(height, (row + 1) * factor);
  for (let column = 0; column < photo.width; column++) {
    const right = Math.min(width, (column + 1) * factor);
    let [red, green, blue] = [0, 0, 0];
    for (let y = row * factor; y < bottom; y++) {
      for (let x = column * factor; x < right; x++) {
        const i = 4 * (y * width + x);
        red += data[i];
        green += data[i + 1];
        blue += data[i + 2];
      }
    }
    const count = (bottom - row * factor) * (right - column * factor);
    const place = outRow * photo.width + column;
    photo.channels[0][place] = meanOfBytes(red, count);
    photo.channels[1][place] = meanOfBytes(green, count);
    photo.channels[2][place] = meanOfBytes(blue, count);
  }
}
