// The kernel slides over the map: step by step, or by itself. Below the window the map grows.

import { firstChannel, channelsOf } from "./model.js";
import { Maps } from "./maps.js";

const SECONDS = 20; // for a whole map
const STEP_MS = [30, 300]; // milliseconds of a step, at least and at most
const ROW_MS = 1000; // milliseconds of a row, for readers who asked for less motion
const INPUTS = 9; // maps under the window that are shown

export class Slide {
  /**
   * @param page {element, before, after, back, step, play}: canvases and buttons
   * @param moved called with the index of the value that is explained next
   * @param ended called when a map is complete
   */
  constructor(page, moved, ended) {
    Object.assign(this, page, { moved, ended, timer: null });
    this.reduced = matchMedia("(prefers-reduced-motion: reduce)");
    this.step.addEventListener("click", () => this.by(1));
    this.back.addEventListener("click", () => this.by(-1));
    this.play.addEventListener("click", () => (this.timer ? this.pause() : this.start()));
  }

  /**
   * Show the window of a value, and the map as far as it.
   *
   * @param moment {step, input, output, index, frames, grey}: tensors of a step that has a window,
   *   the place of the value, and the places of the window in each map that the step sees
   */
  show({ step, input, output, index, frames, grey }, colours) {
    const [, OH, OW] = output.shape;
    const f = Math.floor(index / (OH * OW));
    [this.size, this.width, this.first] = [OH * OW, OW, f * OH * OW];
    this.place = index - this.first;
    const isConvolution = step.type === "Conv2d";
    const channel = isConvolution ? firstChannel(step, f) : f;
    const count = isConvolution ? Math.min(channelsOf(step), INPUTS) : 1;
    const start = channel * input.shape[1] * input.shape[2];
    const windows = frames.slice(0, count).filter((places) => places.length);
    const room = parseInt(getComputedStyle(this.element).getPropertyValue("--width"));
    drawMarked(this.before, room, someMaps(input, channel, count), colours, grey, {
      frames: windows.map((places) => places.map((place) => place - start)),
    });
    const marks = { cursor: this.place, until: this.place };
    drawMarked(this.after, room, someMaps(output, f, 1), colours, null, marks);
  }

  /** Move on by some values, round and round in the same map. */
  by(count) {
    this.pause();
    this.go((this.place + count + this.size) % this.size);
  }

  go(place) {
    this.place = place;
    this.moved(this.first + place);
  }

  start() {
    const still = this.reduced.matches;
    const [least, most] = STEP_MS;
    const pause = Math.min(most, Math.max(least, (1000 * SECONDS) / this.size));
    if (this.place === this.size - 1) this.go(0);
    this.timer = setInterval(() => this.tick(still ? this.width : 1), still ? ROW_MS : pause);
    this.label("Pause");
  }

  tick(count) {
    this.go(Math.min(this.size - 1, this.place + count));
    if (this.place < this.size - 1) return;
    this.pause();
    this.ended();
  }

  pause() {
    clearInterval(this.timer);
    this.timer = null;
    this.label("Play");
  }

  label(text) {
    this.play.textContent = text;
  }

  get isPlaying() {
    return this.timer !== null;
  }
}

/** Return some maps of a tensor. */
function someMaps({ shape: [, H, W], data }, first, count) {
  return { shape: [count, H, W], data: data.subarray(first * H * W, (first + count) * H * W) };
}

function drawMarked(canvas, room, { shape, data }, colours, grey, marks) {
  const maps = new Maps(canvas, shape, { grey });
  const columns = Math.ceil(Math.sqrt(shape[0]));
  maps.layout(room, { columns, width: Math.floor((room - 4 * columns) / columns) });
  Object.assign(maps, marks);
  maps.draw(data, colours);
}
