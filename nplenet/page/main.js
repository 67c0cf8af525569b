// Start: read the model from the page, connect the board, the network and the view.

import { Answer, best, Boxes, byId } from "./answer.js";
import { Board, exampleImage } from "./canvas.js";
import { findDrawnDigits } from "./drawing.js";
import { Experiment } from "./experiment.js";
import { buildSteps, decodeTensors, runSteps } from "./model.js";
import { Overview } from "./overview.js";
import { listenForPhotos } from "./photo.js";
import { readPhoto } from "./picture_file.js";
import { findDigits } from "./recognize.js";
import { resized } from "./resample.js";
import { Tasks, tasksFor } from "./tasks.js";
import { Temperature } from "./temperature.js";
import { calibrated, judged } from "./trust.js";
import { Layers } from "./view.js";
import { wholePicture } from "./whole.js";

const PREPARED = 32; // the side of a digit's image

const page = JSON.parse(byId("model").textContent);
const isWhole = page.kind === "whole"; // trained on whole pictures, not on digits in MNIST's form
const layers = buildSteps(page.model, decodeTensors(page.tensors));
const steps = [...layers, { type: "Softmax", path: "", inputs: [layers.length] }];

/** Return the tensor of an image of the network's size, 0 to 255; it knows mean and std of pixels. */
function toTensor(image) {
  const { side, mean, std } = page;
  const data = Float32Array.from(image, (v) => (v / 255 - mean) / std);
  return { shape: [1, side, side], data, mean, std };
}

/** Return the middle of a prepared image in the network's size. */
function middle(image) {
  const { side } = page;
  const border = (PREPARED - side) / 2;
  return Uint8Array.from({ length: side ** 2 }, (_, i) => {
    const row = border + Math.floor(i / side);
    return image[row * PREPARED + border + (i % side)];
  });
}

const blank = toTensor(new Uint8Array(page.side ** 2));
const began = performance.now();
const first = runSteps(steps, blank);
const firstPass = performance.now() - began;

const experiment = new Experiment(steps, page.trust?.temperature ?? 1);
const answer = new Answer(page.classes, page.noun);
const view = new Layers(steps, first, page, experiment, {
  switched(step, kernel) {
    experiment.switchKernel(step, kernel);
    update();
  },
  slid(k) {
    tasks.check({ ...state, slid: k - 1 === firstConvolution });
  },
});
new Overview(byId("overview"), view.elements, steps, first);

const firstConvolution = steps.findIndex((step) => step.type === "Conv2d");
const convolution = steps[firstConvolution];
const seenByIt = convolution && first[convolution.inputs[0]].shape;
const tasks = new Tasks(byId("tasks"), tasksFor(page.noun, convolution, seenByIt));
let state = {}; // of the page, for the tasks

/** Ask the network about what is on the board, and show all it computes. */
function update() {
  const digits = whatIsOnTheBoard();
  if (digits.length !== boxes.count) [boxes.count, boxes.chosen] = [digits.length, 0];
  const images = digits.map((digit) => digit.image);
  const image = images[boxes.chosen] ?? turned(new Uint8Array(page.side ** 2));
  const values = runSteps(experiment.steps, toTensor(image));
  const read = (one, i) =>
    i === boxes.chosen ? values.at(-1).data : probabilities(experiment.steps, one);
  const words = images.map((one, i) => page.classes[best(read(one, i))]);
  const isFound = digits.length > 0;
  const off = experiment.count;
  const shown = {
    image: isFound ? values.at(-1).data : null,
    inverse: isFound ? probabilities(experiment.steps, inverseOf(image)) : null,
    whole: isFound && off ? probabilities(experiment.whole, image) : null,
    off,
  };
  answer.show(shown);
  const logits = values.at(-2).data;
  byId("doubt").textContent = isFound ? doubt(logits, digits[boxes.chosen].prepared) : "";
  boxes.show(digits, words, board.photo !== null && !isWhole);
  for (const place of ["seen", "small-seen"]) showSeen(byId(place), values[0]);
  view.show(experiment.steps, values);
  state = stateOf(shown);
  tasks.check(state);
}

/**
 * Return a list of {box, image, prepared}: the digits, or the whole picture; images as the network
 * takes them, and as they were prepared.
 */
function whatIsOnTheBoard() {
  if (!isWhole) {
    return found().map(({ box, image }) => {
      return { box, image: turned(middle(image)), prepared: image };
    });
  }
  if (!board.items.length) return [];
  return [{ image: wholePicture(board.picture(), page.size, page.polarity, page.side) }];
}

/** Return the digits on the board, {box, image}, as they were prepared. */
function found() {
  if (board.photo) return board.digitsOfPhoto();
  return nplenet.findDrawnDigits(board.ink(), board.size, board.size);
}

/** Return why the answer is unsure, or an empty text. */
function doubt(logits, prepared) {
  return judged(calibrated(logits, page.trust), page.trust, prepared ?? null, page.classes);
}

/** Return an image, light on dark, as the training's and the board's polarity want it. */
function turned(image) {
  return board.inverted !== (page.polarity === "dark on light") ? inverseOf(image) : image;
}

function probabilities(some, image) {
  return runSteps(some, toTensor(image)).at(-1).data;
}

function inverseOf(image) {
  return image.map((ink) => 255 - ink);
}

function stateOf({ image, whole, off }) {
  return {
    inverted: board.inverted,
    temperature: experiment.temperature,
    sure: image && image[best(image)],
    off,
    offFirst: experiment.off.get(firstConvolution)?.size ?? 0,
    changed: Boolean(whole) && best(whole) !== best(image),
  };
}

function showSeen(canvas, { shape: [, H, W], data, mean, std }) {
  [canvas.width, canvas.height] = [W, H];
  const pixels = new ImageData(W, H);
  data.forEach((v, i) => {
    const shade = 255 * (v * std + mean);
    pixels.data.set([shade, shade, shade, 255], 4 * i);
  });
  canvas.getContext("2d").putImageData(pixels, 0, 0);
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
board.copyTo(byId("small-board"));
const boxes = new Boxes(byId("boxes"), board.size, page.noun, updateSoon);

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
new Temperature(page.trust?.temperature ?? null, (temperature) => {
  experiment.setTemperature(temperature);
  update();
});
byId("all-on").addEventListener("click", () => {
  experiment.switchAllOn();
  update();
});
document.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.key !== "z") return;
  event.preventDefault();
  board.undo();
});

// --- photos ---

const files = { open: byId("file"), take: byId("camera") };
for (const [button, input] of Object.entries(files))
  byId(button).addEventListener("click", () => input.click());
listenForPhotos(
  {
    inputs: Object.values(files),
    target: byId("board"),
    note: byId("photo-note"),
    needsDigits: !isWhole,
  },
  (photo) => board.showPhoto(photo),
);

// --- examples ---

/** Return an example of 32 x 32, which was enlarged from 8 x 8, without its blur. */
function sharpened(example) {
  const side = 4 * PREPARED; // as fine as digits are prepared
  const large = resized({ data: example, height: PREPARED, width: PREPARED }, side, side);
  return findDrawnDigits(large.data, side, side)[0].image;
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
byId("samples").hidden = page.examples.length === 0;
byId("examples").children[page.first]?.click();

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
  firstPass, // milliseconds of the first pass, before the browser has compiled the code
  readPhoto, // of a file: {channels, height, width}
  findDigits, // in such a picture
  findDrawnDigits, // a function of one's own may take its place
  /** Return the digits on the board, as they were prepared. */
  digits: found,
  /** Return what is on the board: ink 0 to 255. */
  ink: () => board.ink(),
  /** Return the logits for an input: a flat array, or lists of lists. */
  logits: (input) => runSteps(layers, { ...blank, data: fromLists(input).data }).at(-1).data,
  /** Return the output of a described model for an input of any shape, in lists. */
  run: (description, tensors, input) =>
    runSteps(buildSteps(description, decodeTensors(tensors)), fromLists(input)).at(-1),
};
