// A photo comes onto the page: opened, taken, dropped or pasted. It never leaves the page.

import { inkOfPhoto } from "./paper.js";

const PHOTO_SIDE = 448; // pixels of the longer side: as many as the board has

/**
 * Listen for photos.
 *
 * @param page {inputs, target, note}: elements of type file, the one that photos are dropped on, and
 *   the one that says what was wrong
 * @param shown called with two canvases: the photo, and its ink in white
 */
export function listenForPhotos({ inputs, target, note }, shown) {
  const hint = note.textContent;
  const read = async (files) => {
    const file = [...files].find((one) => one.type.startsWith("image/")) ?? files[0];
    if (!file) return;
    note.textContent = (await showFile(file, shown)) || hint;
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

/** Read a file and show its photo; return what was wrong, or an empty text. */
async function showFile(file, shown) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file); // upright, as EXIF says
  } catch {
    return "This browser cannot read the file as a picture.";
  }
  const photo = shrunk(bitmap);
  const { width, height } = photo;
  const ink = inkOfPhoto(greyOf(photo), height, width);
  if (!ink) return "Nothing in this picture stands out from the paper.";
  shown(photo, inkCanvas(ink, height, width));
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
  return canvas;
}

/** Return brightness as Pillow computes it (ITU-R BT.601). */
function greyOf(canvas) {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const grey = new Float64Array(data.length / 4);
  for (let i = 0; i < grey.length; i++)
    grey[i] = 0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2];
  return grey;
}

function inkCanvas(ink, height, width) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const image = new ImageData(width, height);
  ink.forEach((v, i) => image.data.set([v, v, v, 255], 4 * i));
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}
