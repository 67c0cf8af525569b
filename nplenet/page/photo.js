// A photo comes onto the page: opened, taken, dropped or pasted. It never leaves the page.

import { brightness } from "./canvas.js";
import { inkOfPhoto } from "./paper.js";

const PHOTO_SIDE = 512; // pixels of the longer side, as in nplenet/recognize.py

/**
 * Listen for photos.
 *
 * @param page {inputs, target, note, needsInk}: elements of type file, the one that photos are dropped
 *   on, the one that says what was wrong; and whether a photo without ink is wrong
 * @param shown called with two canvases: the photo, and its ink in white
 */
export function listenForPhotos({ inputs, target, note, needsInk }, shown) {
  const hint = note.textContent;
  const read = async (files) => {
    const file = [...files].find((one) => one.type.startsWith("image/")) ?? files[0];
    if (!file) return;
    note.textContent = (await showFile(file, needsInk, shown)) || hint;
  };
  for (const input of inputs) {
    input.addEventListener("change", () => {
      read([...input.files]);
      input.value = ""; // so that the same photo can be chosen again
    });
  }
  document.addEventListener("paste", ({ clipboardData }) => read(clipboardData?.files ?? []));
  document.addEventListener("dragover", (event) => {
    event.preventDefault(); // otherwise the browser leaves the page for the photo
    target.classList.add("dropping");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) target.classList.remove("dropping");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    target.classList.remove("dropping");
    read(event.dataTransfer.files);
  });
}

/** Read a file and show its photo, even without ink if that is not needed; return what was wrong, or an empty text. */
async function showFile(file, needsInk, shown) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file); // upright, as EXIF says
  } catch {
    return "This browser cannot read the file as a picture.";
  }
  const photo = shrunk(bitmap);
  const { width, height } = photo;
  const ink = inkOfPhoto(greyOf(photo), height, width);
  if (!ink && needsInk) return "Nothing in this picture stands out from the paper.";
  shown(photo, inkCanvas(ink ?? new Uint8Array(height * width), height, width));
  return "";
}

/** Return a canvas with the photo on white paper, no longer than PHOTO_SIDE. */
function shrunk(bitmap) {
  const scale = Math.min(1, PHOTO_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white"; // where the picture is transparent
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return canvas;
}

function greyOf(canvas) {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return Float64Array.from({ length: data.length / 4 }, (_, i) => brightness(data, i));
}

function inkCanvas(ink, height, width) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const image = new ImageData(width, height);
  ink.forEach((v, i) => image.data.set([v, v, v, 255], 4 * i));
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}
