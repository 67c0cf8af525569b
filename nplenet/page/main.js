// Start: read the model from the page, connect the board, the network and the view.

import { Board, exampleImage } from "./canvas.js";
import { buildSteps, decodeTensors, runSteps } from "./model.js";
import { prepare, resize } from "./prepare.js";
import { Answer, byId, Layers } from "./view.js";

const PREPARED = 32; // the side of what prepare returns

const page = JSON.parse(byId("model").textContent);
const layers = buildSteps(page.model, decodeTensors(page.tensors));
const steps = [...layers, { type: "Softmax", path: "" }];

/** Return the tensor of an image, ink 0 to 255; a smaller network sees its middle. */
function toTensor(image) {
  const border = (PREPARED - page.side) / 2;
  const data = new Float32Array(page.side ** 2);
  for (let i = 0; i < data.length; i++) {
    const row = border + Math.floor(i / page.side);
    data[i] = image[row * PREPARED + border + (i % page.side)] / 255;
  }
  return { shape: [1, page.side, page.side], data };
}

const blank = toTensor(new Uint8Array(PREPARED ** 2));
const answer = new Answer(runSteps(steps, blank).at(-1).data.length);
const view = new Layers(steps, runSteps(steps, blank));

/** Ask the network about what is on the board, and show all it computes. */
function update() {
  const found = prepare(board.ink(), board.size, board.size);
  const image = found ?? new Uint8Array(PREPARED ** 2);
  const inverse = image.map((ink) => 255 - ink);
  const [shown, other] = board.inverted ? [inverse, image] : [image, inverse];
  const values = runSteps(steps, toTensor(shown));
  const opposite = runSteps(steps, toTensor(other));
  answer.show(found && values.at(-1).data, found && opposite.at(-1).data);
  view.show(values);
}

let waiting = false;
function updateSoon() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    update();
  });
}

const board = new Board(byId("board"), byId("pen"), updateSoon);

// --- controls ---

byId("clear").addEventListener("click", () => board.clear());
byId("undo").addEventListener("click", () => board.undo());
byId("invert").addEventListener("click", ({ currentTarget }) => {
  board.invert(!board.inverted);
  currentTarget.setAttribute("aria-pressed", board.inverted);
});
byId("thickness").addEventListener(
  "input",
  ({ target }) => (board.thickness = Number(target.value)),
);
byId("rotate").addEventListener("input", ({ target }) => {
  board.rotate(Number(target.value));
  byId("degrees").textContent = `${target.value.replace("-", "−")}°`;
});
document.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.key !== "z") return;
  event.preventDefault();
  board.undo();
});

/** Return an example of 32 x 32, which was enlarged from 8 x 8, without its blur. */
function sharpened(example) {
  const side = 4 * PREPARED; // as fine as prepare works
  const large = resize({ data: example, height: PREPARED, width: PREPARED }, side, side);
  return prepare(Uint8Array.from(large.data), side, side);
}

for (const { label, data } of page.examples) {
  const example = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-label", `Example ${label}`);
  button.append(exampleImage({ example, side: PREPARED }, 255));
  button.addEventListener("click", () => board.show(sharpened(example), PREPARED));
  byId("examples").append(button);
}
byId("examples").children[page.first].click();

// --- light and dark ---

const dark = matchMedia("(prefers-color-scheme: dark)");
dark.addEventListener("change", () => view.recolour());
byId("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const isDark = (root.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
  root.dataset.theme = isDark ? "light" : "dark";
  view.recolour();
});

// --- for the console ---

/** Return a tensor of numbers nested as in Python's lists. */
function fromLists(lists) {
  const shape = [];
  for (let inner = lists; inner?.length !== undefined; inner = inner[0]) shape.push(inner.length);
  return { shape, data: Float32Array.from(Array.from(lists).flat(Infinity)) };
}

window.nplenet = {
  steps,
  prepare,
  /** Return what is on the board: ink 0 to 255. */
  ink: () => board.ink(),
  /** Return the logits for an image of 0 to 1: a flat array, or lists of lists. */
  logits: (image) => runSteps(layers, { ...blank, data: fromLists(image).data }).at(-1).data,
  /** Return the output of a described model for an input of any shape, in lists. */
  run: (description, tensors, input) =>
    runSteps(buildSteps(description, decodeTensors(tensors)), fromLists(input)).at(-1),
};
