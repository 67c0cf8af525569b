// How far an answer can be trusted, by what was measured of the model: nplenet/trust.py.

import { runSteps } from "./model.js";
import { labelled } from "./segment/parts.js";

// Facts about a picture, which may be why an answer is unsure.
const INK = 100; // of 255: a pixel above is ink
const MAX_INK = 0.22; // fraction of 28x28: 3 % of MNIST's digits have more
const MAX_GREY = 0.75; // fraction of the pixels with ink that are grey: 2 % of MNIST's digits have more
const MIN_PART = 0.2; // of the pixels of the largest part: 1 % of MNIST's digits have another such part
const MIN_DOT = 0.05; // of a 1: 0.9 % of MNIST's have another such part, of letters i three quarters
const MIN_TWO = 0.8; // probability of the two likeliest classes together: the picture is one of them
const DOTTED = "a 1 in two parts, such as an i";
const COUNTS = ["two", "three", "four"];

/** Return the probabilities of logits; without a trust the plain softmax. */
export function calibrated(logits, trust) {
  const step = { type: "Softmax", inputs: [0], temperature: trust?.temperature ?? 1 };
  return runSteps([step], { shape: [logits.length], data: logits }).at(-1).data;
}

/**
 * Return why an answer is unsure, or "" where it is sure or the model's trust was not measured.
 *
 * @param p probabilities, calibrated
 * @param trust least_probability, or null
 * @param picture what the network saw, ink 255, a square; null for a whole picture
 * @param names of the classes
 */
export function judged(p, trust, picture, names) {
  if (!trust) return "";
  const [first, second] = names.map((_, k) => k).sort((a, b) => p[b] - p[a]);
  if (p[first] >= trust.least_probability)
    return names[first] === "1" && picture && dotted(picture) ? `unsure: ${DOTTED}` : "";
  const reasons = picture ? facts(picture) : [];
  if (p[first] + p[second] >= MIN_TWO) {
    reasons.push(`between ${names[first]} and ${names[second]}`);
  } else {
    const kind = names.every((name) => /^\d+$/.test(name)) ? "digits" : "images";
    reasons.push(`unlike the ${kind} it was trained on`);
  }
  return `unsure: ${reasons.join("; ")}`;
}

/** Return what is unusual about a picture, in plain words. */
function facts(picture) {
  const ink = inkOf(picture);
  if (!ink.includes(1)) return ["no ink"];
  const parts = sizesOfParts(ink, Math.sqrt(picture.length));
  const large = parts.filter((size) => size >= MIN_PART * Math.max(...parts)).length;
  const grey = picture.filter((v) => v > 25 && v < 230).length;
  const found = [];
  if (large > 1) found.push(`${COUNTS[large - 2] ?? "many"} parts`);
  if (ink.filter(Boolean).length > MAX_INK * 28 * 28) found.push("thick or filled in");
  if (grey > MAX_GREY * picture.filter((v) => v > 25).length) found.push("faint or blurred");
  return found;
}

/** Return whether there is a dot beside a stroke, as of an i or a j, which a 1 has not. */
function dotted(picture) {
  const parts = sizesOfParts(inkOf(picture), Math.sqrt(picture.length));
  return parts.filter((size) => size >= MIN_DOT * Math.max(...parts)).length > 1;
}

function inkOf(picture) {
  return picture.map((v) => (v > INK ? 1 : 0));
}

/** Return the number of pixels of each connected part. */
function sizesOfParts(ink, side) {
  const { where, count } = labelled({ data: ink, height: side, width: side });
  const sizes = new Array(count).fill(0);
  for (const k of where.data) if (k >= 0) sizes[k] += 1;
  return sizes;
}
