// The answer: the most likely class, the bars of all classes, and the digits to choose from.

import { percent } from "./markup.js";

const MOST_ROWS = 10; // of more classes, the most likely ones are shown
const LOW = 0.9; // of the board's height; a button below a box as low would leave the board
const WORD = 2; // letters; a longer name is written smaller
export const byId = (id) => document.getElementById(id);

/** The most likely class, and the bars of classes for the image and for its inverse. */
export class Answer {
  /** @param names of the classes @param noun what one draws, such as "digit" */
  constructor(names, noun) {
    Object.assign(this, { names, noun });
    const cell = (kind) =>
      `<td class="${kind}"><span class="bar"></span><span class="share-text"></span></td>`;
    const row = `<tr><th scope="row"></th>${cell("image")}${cell("inverse")}</tr>`;
    byId("bars").innerHTML = row.repeat(Math.min(names.length, MOST_ROWS));
  }

  /**
   * Show lists of probabilities; null for an empty board.
   *
   * @param image, inverse of the drawing and of its inverse
   * @param whole of the drawing with all kernels on; null if they are
   * @param off how many kernels are off
   */
  show({ image, inverse, whole, off }) {
    const answer = image && best(image);
    const word = image ? this.names[answer] : "–";
    const sure = image ? percent(image[answer]) : `draw a ${this.noun}`;
    for (const place of ["", "small-"]) {
      byId(`${place}answer`).textContent = word;
      byId(`${place}answer`).classList.toggle("word", word.length > WORD);
      byId(`${place}sure`).textContent = sure;
    }
    byId("all-on").classList.toggle("useless", off === 0);
    byId("switched").textContent = off === 0 ? "all kernels on" : this.compared(off, whole);
    this.shownClasses(image).forEach((k, i) => {
      const row = byId("bars").rows[i];
      row.cells[0].textContent = this.names[k];
      row.classList.toggle("most", k === answer);
      showBar(row.cells[1], image?.[k]);
      showBar(row.cells[2], inverse?.[k]);
    });
  }

  compared(off, whole) {
    const kernels = `${off} kernel${off === 1 ? "" : "s"} off`;
    if (!whole) return kernels;
    return `${kernels}; with all: ${this.names[best(whole)]}, ${percent(whole[best(whole)])}`;
  }

  /** Return the classes that have a row: all of few, the most likely of many. */
  shownClasses(image) {
    const all = this.names.map((_, k) => k);
    if (all.length > MOST_ROWS && image) all.sort((a, b) => image[b] - image[a]);
    return all.slice(0, MOST_ROWS);
  }
}

/** Return the place of the largest number. */
export function best(probabilities) {
  return probabilities.indexOf(Math.max(...probabilities));
}

function showBar(cell, probability = null) {
  cell.firstChild.style.setProperty("--share", probability ?? 0);
  cell.lastChild.textContent = probability === null ? "" : percent(probability);
}

/** Frames round several digits, or round the one of a photo; of several, the reader chooses one. */
export class Boxes {
  /**
   * @param element over the board
   * @param size of the board
   * @param noun what is in a box, such as "digit"
   * @param changed called after a choice
   */
  constructor(element, size, noun, changed) {
    Object.assign(this, { element, size, noun, changed, count: 0, chosen: 0 });
  }

  /**
   * Show the boxes of the digits and what each was read as.
   *
   * @param digits as findDigits returns them
   * @param words what the network says of each
   * @param isPhoto a single digit is framed only there
   */
  show(digits, words, isPhoto) {
    const shown = digits.length > 1 || isPhoto ? digits : [];
    while (this.element.children.length > shown.length) this.element.lastChild.remove();
    while (this.element.children.length < shown.length) this.add(this.element.children.length);
    shown.forEach(({ box }, i) => {
      const frame = this.element.children[i];
      const share = (v) => `${(100 * v) / this.size}%`;
      frame.style.inset = `${share(box.top)} auto auto ${share(box.left)}`;
      [frame.style.width, frame.style.height] = [share(box.width), share(box.height)];
      const button = frame.firstChild;
      button.textContent = words[i];
      button.hidden = shown.length < 2;
      button.classList.toggle("low", box.top + box.height > LOW * this.size);
      button.setAttribute("aria-label", `${this.noun} ${i + 1} of ${shown.length}: ${words[i]}`);
      button.setAttribute("aria-pressed", i === this.chosen);
    });
    byId("reading").textContent = shown.length > 1 ? `In reading order: ${words.join(" ")}` : "";
  }

  add(i) {
    const frame = document.createElement("div");
    const button = document.createElement("button");
    button.type = "button";
    button.addEventListener("click", () => {
      this.chosen = i;
      this.changed();
    });
    frame.append(button);
    this.element.append(frame);
  }
}
