// What a layer does, in a sentence or two: the text above its maps.

import { percent } from "./markup.js";
import { channelsOf } from "./model.js";

/** Say in a sentence or two what a step does to an input of this shape. */
export function describeStep(step, shape) {
  const window = step.kernel_size?.join("\u00a0×\u00a0");
  const one = shape[0] === 1;
  const seen = step.type === "Conv2d" ? channelsOf(step) : shape[0];
  const kernel = seen === 1 ? window : `${seen}\u00a0×\u00a0${window}`;
  const maps = seen === shape[0] ? `all ${seen} maps` : `${seen} of the maps`;
  const normalized =
    "is shifted and scaled to mean 0 and variance 1, as measured in training; " +
    "then it gets a learned scale and shift.";
  const shrunk = "The maps shrink, and small shifts of the digit matter less.";
  const sentences = {
    Conv2d:
      `Each map has a kernel of ${kernel} weights, which slides over ` +
      `${one ? "the map" : maps} before it. ` +
      "A value is the sum of a window times the kernel.",
    BatchNorm1d: `Each unit ${normalized}`,
    BatchNorm2d: `Each map ${normalized}`,
    GroupNorm:
      `The maps are cut into ${step.num_groups} group${step.num_groups === 1 ? "" : "s"}, each of ` +
      "which is shifted and scaled to mean 0 and variance 1; then each map gets a learned scale " +
      "and shift.",
    LayerNorm:
      "The values are shifted and scaled to mean 0 and variance 1, along the axes " +
      `${step.normalized_shape?.join("\u00a0×\u00a0")}; then each gets a learned scale and shift.`,
    AvgPool2d: `Each value is the average of a window of ${window}. ${shrunk}`,
    GlobalAvgPool2d: "Each map becomes one value, its average.",
    MaxPool2d: `Each value is the largest of a window of ${window}. ${shrunk}`,
    Flatten: "The maps are laid in one row, a vector. Nothing is computed.",
    Dense:
      `Each unit sees all ${shape[0]} values before it: ` +
      "it sums them up, each times a weight of its own.",
    Dropout:
      `In training, ${percent(step.p)} of the values are dropped at random, ` +
      "so that the network relies on no single one. Here all pass unchanged.",
    ReLU: "Negative values become zero; positive values pass.",
    LeakyReLU:
      `Negative values are multiplied by ${Number(step.negative_slope)}; ` +
      "positive values pass.",
    Sigmoid: "Each value is squeezed between 0 and 1.",
    Tanh: "Each value is squeezed between −1 and 1.",
    GELU: "Positive values pass, negative ones become nearly zero, with a smooth bend between.",
    Softmax: "Each output becomes a probability: its exponential, as a share of the sum of all.",
    Residual: step.shortcut
      ? "The two ways of this block, body and shortcut, meet: their values are added, place by place."
      : "What the body of this block made is added, place by place, to what went into the block.",
  };
  return sentences[step.type];
}
