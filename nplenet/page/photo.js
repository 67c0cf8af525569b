// A photo comes onto the page: opened, taken, dropped or pasted. It never leaves the page.

import { readPhoto } from "./picture_file.js";
import { findDigits, NoDigitError } from "./recognize.js";

/**
 * Listen for photos.
 *
 * @param page {inputs, target, note, needsDigits}: elements of type file, the one that photos are
 *   dropped on, the one that says what was wrong; whether digits are looked for
 * @param shown called with {photo, picture, digits}: a canvas, its pixels and the digits in it
 */
export function listenForPhotos({ inputs, target, note, needsDigits }, shown) {
  const hint = note.textContent;
  const read = async (files) => {
    const file = [...files].find((one) => one.type.startsWith("image/")) ?? files[0];
    if (!file) return;
    note.textContent = "Reading the picture …";
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    let wrong = "This picture could not be read.";
    try {
      wrong = await showFile(file, needsDigits, shown);
    } finally {
      note.textContent = wrong || hint;
    }
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
async function showFile(file, needsDigits, shown) {
  let picture;
  try {
    picture = await readPhoto(file);
  } catch {
    return "This browser cannot read the file as a picture.";
  }
  try {
    const digits = needsDigits ? findDigits(picture) : [];
    shown({ photo: canvasOf(picture), picture, digits });
    return "";
  } catch (error) {
    if (error instanceof NoDigitError) return error.message;
    throw error;
  }
}

function canvasOf({ channels, height, width }) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const image = new ImageData(width, height);
  const [red, green, blue] = channels;
  for (let i = 0; i < red.length; i++) image.data.set([red[i], green[i], blue[i], 255], 4 * i);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}
