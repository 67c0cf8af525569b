// A tensor as pictures: its feature maps side by side, or a vector as a row of squares.
//
// Blue is above zero, vermillion below, and the strongest colour is the largest value of the layer.

import { inkOn } from "./markup.js";

const MAP_WIDTH = 98; // pixels that a map is about wide
const IMAGE_WIDTH = 160; // and the image
const HATCH = 5; // pixels between lines over what is not computed yet
const MOST_GROWTH = 1.3; // where there is room for more
const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

export class Maps {
  /**
   * @param canvas the element
   * @param shape of the tensor
   * @param options grey: {mean, std} of an image, which is shown in black and white; chosen(index, how): called when the reader
   *   points at a value, how is "hover", "click" or "key"; without it, the maps are only looked at
   */
  constructor(canvas, shape, { grey = null, chosen = null }) {
    [this.canvas, this.grey, this.chosen] = [canvas, grey, chosen];
    const [count, height, width] =
      shape.length === 3 ? shape : shape.length === 2 ? [shape[0], 1, shape[1]] : [shape[0], 1, 1];
    Object.assign(this, { count, height, width });
    this.cursor = null; // index of the value that is explained
    this.frames = []; // lists of indices that it was made of
    this.until = null; // index of the last value that is computed: those after it are hatched
    if (chosen) this.listen();
  }

  /** Find the size of a cell and how many maps fit beside each other, unless that is given. */
  layout(available, { width = null, columns = null } = {}) {
    const single = this.width * this.height === 1;
    const target =
      width ?? (single ? (this.count > 20 ? 14 : 30) : this.grey ? IMAGE_WIDTH : MAP_WIDTH);
    this.cell = Math.max(1, Math.floor(Math.min(target, available) / this.width));
    this.gap = single ? 2 : 8;
    const fitting = Math.floor((available + this.gap) / (this.width * this.cell + this.gap));
    this.columns = Math.max(1, Math.min(this.count, columns ?? fitting));
    if (!single && !columns) this.fill(target, available);
    const step = this.width * this.cell + this.gap;
    const rows = Math.ceil(this.count / this.columns);
    const [w, h] = [
      this.columns * step - this.gap,
      rows * (this.height * this.cell + this.gap) - this.gap,
    ];
    const ratio = window.devicePixelRatio || 1;
    // Room for a frame round the outermost cells.
    this.canvas.width = Math.round((w + 4) * ratio);
    this.canvas.height = Math.round((h + 4) * ratio);
    this.canvas.style.width = `${w + 4}px`;
    this.canvas.style.height = `${h + 4}px`;
    this.context = this.canvas.getContext("2d");
    this.context.setTransform(ratio, 0, 0, ratio, 2 * ratio, 2 * ratio);
    this.context.imageSmoothingEnabled = false;
  }

  /** Enlarge the cells as far as the room allows, but not beyond all measure. */
  fill(target, available) {
    const share = (available + this.gap) / this.columns - this.gap;
    const largest = Math.min(share, MOST_GROWTH * target);
    this.cell = Math.max(this.cell, Math.floor(largest / this.width));
  }

  draw(data, colours) {
    [this.data, this.colours] = [data, colours];
    const { context, canvas } = this;
    context.clearRect(-2, -2, canvas.width, canvas.height);
    const largest = data.reduce((most, v) => Math.max(most, Math.abs(v)), 1e-12);
    const shade = (v) => 255 * (v * this.grey.std + this.grey.mean);
    const colour = (v) => (this.grey ? Array(3).fill(shade(v)) : colours.of(v / largest));
    const size = this.width * this.height;
    const small = new OffscreenCanvas(this.width, this.height);
    const brush = small.getContext("2d");
    const pixels = new ImageData(this.width, this.height);
    for (let map = 0; map < this.count; map++) {
      for (let i = 0; i < size; i++) {
        pixels.data.set(colour(data[map * size + i]), 4 * i);
        pixels.data[4 * i + 3] = 255;
      }
      brush.putImageData(pixels, 0, 0);
      const { x, y } = this.box([map * size]);
      context.drawImage(small, x, y, this.width * this.cell, this.height * this.cell);
    }
    if (this.until !== null) this.hatch();
    if (size === 1 && this.cell >= 30) this.drawNumbers(data, largest);
    for (const frame of this.frames) this.outline(this.box(frame), 1.5);
    if (this.cursor !== null) this.outline(this.box([this.cursor]), 2.5);
  }

  redraw() {
    if (this.data) this.draw(this.data, this.colours);
  }

  /** Hatch what comes after the last value that is computed: no value looks like that. */
  hatch() {
    const { context, width, height, cell } = this;
    const [row, column] = [Math.floor(this.until / width), (this.until % width) + 1];
    context.save();
    context.beginPath();
    context.rect(column * cell, row * cell, (width - column) * cell, cell);
    context.rect(0, (row + 1) * cell, width * cell, (height - row - 1) * cell);
    context.clip();
    context.fillStyle = this.colours.surface;
    context.fillRect(0, 0, width * cell, height * cell);
    context.beginPath();
    for (let x = -height * cell; x < width * cell; x += HATCH) {
      context.moveTo(x, height * cell);
      context.lineTo(x + height * cell, 0);
    }
    context.strokeStyle = this.colours.hatch;
    context.lineWidth = 1.5;
    context.stroke();
    context.restore();
  }

  /** Write the number of each unit into its square. */
  drawNumbers(data, largest) {
    const { context, colours } = this;
    context.font = "600 13px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (let unit = 0; unit < this.count; unit++) {
      const { x, y } = this.box([unit]);
      context.fillStyle = colours.ink(data[unit] / largest);
      context.fillText(unit, x + this.cell / 2, y + this.cell / 2 + 1);
    }
  }

  /** Frame a box; a small one gets a frame with room to see what is inside. */
  outline(box, line) {
    const { context, colours } = this;
    const room = Math.max(0, 8 - box.width) / 2;
    const [x, y, width, height] = [
      box.x - room,
      box.y - room,
      box.width + 2 * room,
      box.height + 2 * room,
    ];
    context.strokeStyle = colours.background; // a rim, so that the frame shows on any colour
    context.lineWidth = line + 2;
    context.strokeRect(x, y, width, height);
    context.strokeStyle = colours.text;
    context.lineWidth = line;
    context.strokeRect(x, y, width, height);
  }

  /** Return the box round some values of one map. */
  box(indices) {
    const size = this.width * this.height;
    const map = Math.floor(indices[0] / size);
    const rows = indices.map((i) => Math.floor((i % size) / this.width));
    const columns = indices.map((i) => i % this.width);
    const [top, left] = [Math.min(...rows), Math.min(...columns)];
    return {
      x: (map % this.columns) * (this.width * this.cell + this.gap) + left * this.cell,
      y: Math.floor(map / this.columns) * (this.height * this.cell + this.gap) + top * this.cell,
      width: (Math.max(...columns) - left + 1) * this.cell,
      height: (Math.max(...rows) - top + 1) * this.cell,
    };
  }

  /** Return the index of the value under a pointer, or null. */
  at(event) {
    const corner = this.canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - corner.left - 2, event.clientY - corner.top - 2];
    const [w, h] = [this.width * this.cell, this.height * this.cell];
    const [across, down] = [Math.floor(x / (w + this.gap)), Math.floor(y / (h + this.gap))];
    const [inX, inY] = [x - across * (w + this.gap), y - down * (h + this.gap)];
    const map = down * this.columns + across;
    const hit =
      inX >= 0 && inX < w && inY >= 0 && inY < h && across < this.columns && map < this.count;
    if (!hit) return null;
    const [row, column] = [Math.floor(inY / this.cell), Math.floor(inX / this.cell)];
    return (map * this.height + row) * this.width + column;
  }

  /** Show which value is explained, and which were its inputs. */
  mark(cursor, frames = []) {
    [this.cursor, this.frames] = [cursor, frames];
    this.redraw();
  }

  listen() {
    const { canvas } = this;
    const point = (event, how) => {
      const index = this.at(event);
      if (index !== null) this.chosen(index, how);
    };
    canvas.addEventListener("pointermove", (event) => point(event, "hover"));
    canvas.addEventListener("click", (event) => point(event, "click"));
    canvas.addEventListener("focus", () => {
      if (canvas.matches(":focus-visible")) this.chosen(this.cursor ?? 0, "key");
    });
    canvas.addEventListener("keydown", (event) => {
      const next = this.neighbour(event.key);
      if (next === null) return;
      event.preventDefault();
      this.chosen(next, "key");
    });
  }

  /** Return where a key leads from the cursor: arrows within a map, page up and down to another. */
  neighbour(key) {
    const size = this.width * this.height;
    const from = this.cursor ?? 0;
    const [map, row, column] = [
      Math.floor(from / size),
      Math.floor((from % size) / this.width),
      from % this.width,
    ];
    if (size === 1) {
      const across = {
        ArrowLeft: -1,
        ArrowRight: 1,
        ArrowUp: -this.columns,
        ArrowDown: this.columns,
      }[key];
      return across && from + across >= 0 && from + across < this.count ? from + across : null;
    }
    const other = { PageUp: map - 1, PageDown: map + 1 }[key];
    if (other !== undefined)
      return other >= 0 && other < this.count ? from + (other - map) * size : from;
    if (!(key in STEPS)) return null;
    const [r, c] = [row + STEPS[key][0], column + STEPS[key][1]];
    return r >= 0 && r < this.height && c >= 0 && c < this.width
      ? map * size + r * this.width + c
      : from;
  }
}

/** The colours of the theme: from --negative over --zero to --positive. */
export class Colours {
  constructor(style) {
    const rgb = (name) => {
      const hex = style.getPropertyValue(name).trim().slice(1);
      return [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16));
    };
    [this.negative, this.zero, this.positive] = ["--negative", "--zero", "--positive"].map(rgb);
    this.text = style.getPropertyValue("--text");
    this.ink = (strength) => style.getPropertyValue(inkOn(strength));
    this.background = style.getPropertyValue("--background");
    this.surface = style.getPropertyValue("--surface");
    this.hatch = style.getPropertyValue("--hatch");
  }

  /** Return the colour of a value of -1 to 1. */
  of(v) {
    const end = v < 0 ? this.negative : this.positive;
    return this.zero.map((z, i) => z + (end[i] - z) * Math.abs(v));
  }
}
