// How far an answer can be trusted, by what was measured of the model; see nplenet/trust.py.

import { runSteps } from "./model.js";

const TWO = 0.8; // probability of the two likeliest classes together: the picture is one of them

/**
 * Return why the answer is unsure, or "" where it is sure or the model's trust was not measured.
 *
 * @param logits of the drawing @param trust temperature and least_probability, or null
 * @param names of the classes @param noun what one draws
 */
export function doubt(logits, trust, names, noun) {
  if (!trust) return "";
  const step = { type: "Softmax", inputs: [0], temperature: trust.temperature };
  const p = runSteps([step], { shape: [logits.length], data: logits }).at(-1).data;
  const [first, second] = names.map((_, k) => k).sort((a, b) => p[b] - p[a]);
  if (p[first] >= trust.least_probability) return "";
  if (p[first] + p[second] >= TWO) return `unsure: between ${names[first]} and ${names[second]}`;
  return `unsure: unlike the ${noun}s it was trained on`;
}
