// The blackboard: strokes of a mouse, finger, pen or of the arrow keys; undo, invert, rotate.
//
// What is on the board is a list of items: strokes, or one example digit, or one photo with the digits
// found in it. The list is never changed, only replaced, so undo is a walk back through the lists.

import { digitsOnBoard } from "./turn.js";

const SIZE = 448; // pixels of the board, however large it is shown
const COPY = 224; // pixels of a smaller board
const KEY_STEP = SIZE / 32;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Board {
  /**
   * @param canvas the element that is drawn on
   * @param pen the element that shows where the keyboard's pen is
   * @param changed called after every change
   */
  constructor(canvas, pen, changed) {
    canvas.width = canvas.height = SIZE;
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.copies = []; // smaller boards
    this.pen = { element: pen, x: SIZE / 2, y: SIZE / 4, down: false };
    this.changed = changed;
    this.history = [[]];
    this.thickness = 36;
    this.degrees = 0;
    this.inverted = false;
    this.stroke = null; // the one that a pointer is drawing
    this.listen(canvas);
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => this.lift());
    this.render();
  }

  /** Show the board in another canvas too, which can be drawn on as well. */
  copyTo(canvas) {
    canvas.width = canvas.height = COPY;
    this.copies.push(canvas.getContext("2d"));
    this.listen(canvas);
    this.render();
  }

  get size() {
    return SIZE;
  }

  get items() {
    return this.history.at(-1);
  }

  get photo() {
    return this.items.find((item) => item.photo) ?? null;
  }

  /** Return the ink, 0 to 255, in each pixel. */
  ink() {
    const { context, inverted } = this;
    const pixels = context.getImageData(0, 0, SIZE, SIZE).data;
    const ink = new Uint8Array(SIZE * SIZE);
    for (let i = 0; i < ink.length; i++) ink[i] = inverted ? 255 - pixels[4 * i] : pixels[4 * i];
    return ink;
  }

  /** Return the digits of the photo, their boxes in pixels of the board as it is turned. */
  digitsOfPhoto() {
    return digitsOnBoard(this.photo, placeOfPhoto(this.photo.photo), this.degrees, SIZE);
  }

  /** Return what one sees, {channels, height, width} of bytes: the photo in its size, or the board. */
  picture() {
    if (this.photo && this.degrees % 360 === 0 && !this.inverted) return this.photo.picture;
    const { x, y, width, height } = this.photo
      ? placeOfPhoto(this.photo.photo)
      : { x: 0, y: 0, width: SIZE, height: SIZE };
    const pixels = this.context.getImageData(x, y, width, height).data;
    const channels = [0, 1, 2].map((c) =>
      Uint8Array.from({ length: width * height }, (_, i) => pixels[4 * i + c]),
    );
    return { channels, height, width };
  }

  /** Show an example, ink 0 to 255 in side * side pixels; the first stroke wipes it away. */
  show(example, side) {
    this.replace([{ example, side }]);
  }

  /** Show a photo, {photo, picture, digits}: a canvas, its pixels and the digits in it. */
  showPhoto(item) {
    this.replace([item]);
  }

  clear() {
    if (this.items.length) this.replace([]);
  }

  undo() {
    if (this.history.length > 1) this.history.pop();
    this.render();
  }

  invert(inverted) {
    this.inverted = inverted;
    this.render();
  }

  rotate(degrees) {
    this.degrees = degrees;
    this.render();
  }

  // --- drawing ---

  replace(items) {
    this.history.push(items);
    this.render();
  }

  /** Begin a stroke at a point of the canvas. */
  begin(x, y) {
    const stroke = { thickness: this.thickness, points: [this.unrotated(x, y)] };
    this.replace([...this.items.filter((item) => item.points), stroke]);
    return stroke;
  }

  extend(stroke, x, y) {
    stroke.points.push(this.unrotated(x, y));
  }

  /** Return where a point of the canvas was before the drawing was rotated. */
  unrotated(x, y) {
    const angle = (-this.degrees * Math.PI) / 180;
    const [dx, dy] = [x - SIZE / 2, y - SIZE / 2];
    return [
      SIZE / 2 + dx * Math.cos(angle) - dy * Math.sin(angle),
      SIZE / 2 + dx * Math.sin(angle) + dy * Math.cos(angle),
    ];
  }

  render() {
    this.paint(this.context, this.inverted);
    for (const copy of this.copies) copy.drawImage(this.canvas, 0, 0, COPY, COPY);
    this.placePen();
    this.changed();
  }

  paint(context, inverted) {
    const [paper, ink] = inverted ? [255, 0] : [0, 255];
    context.resetTransform();
    context.fillStyle = `rgb(${paper} ${paper} ${paper})`;
    context.fillRect(0, 0, SIZE, SIZE);
    context.translate(SIZE / 2, SIZE / 2);
    context.rotate((this.degrees * Math.PI) / 180);
    context.translate(-SIZE / 2, -SIZE / 2);
    context.strokeStyle = context.fillStyle = `rgb(${ink} ${ink} ${ink})`;
    for (const item of this.items) {
      if (item.points) drawStroke(context, item);
      else if (item.photo) drawPhoto(context, item.photo, inverted);
      else context.drawImage(exampleImage(item, ink), 0, 0, SIZE, SIZE);
    }
  }

  // --- pointers and keys ---

  listen(canvas) {
    canvas.addEventListener("pointerdown", (event) => {
      if (!event.isPrimary || event.button !== 0) return;
      canvas.setPointerCapture(event.pointerId);
      this.stroke = this.begin(...this.position(event, canvas));
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.stroke || !event.isPrimary) return;
      const events = event.getCoalescedEvents?.() ?? [];
      for (const one of events.length ? events : [event])
        this.extend(this.stroke, ...this.position(one, canvas));
      this.render();
    });
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, () => (this.stroke = null));
    }
  }

  /** Return where a pointer is, in pixels of the board, though it be over a smaller one. */
  position(event, canvas) {
    const box = canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * SIZE,
      ((event.clientY - box.top) / box.height) * SIZE,
    ];
  }

  /** The arrow keys move the pen; space sets it down and lifts it again. */
  key(event) {
    const { pen } = this;
    if (event.key === " ") {
      if (pen.down) this.lift();
      else pen.down = this.begin(pen.x, pen.y);
    } else if (event.key in ARROWS) {
      const [dx, dy] = ARROWS[event.key];
      pen.x = Math.min(SIZE, Math.max(0, pen.x + dx * KEY_STEP));
      pen.y = Math.min(SIZE, Math.max(0, pen.y + dy * KEY_STEP));
      if (pen.down) this.extend(pen.down, pen.x, pen.y);
    } else {
      return;
    }
    event.preventDefault();
    this.render();
  }

  lift() {
    this.pen.down = false;
    this.placePen();
  }

  placePen() {
    const { element, x, y, down } = this.pen;
    element.style.left = `${(100 * x) / SIZE}%`;
    element.style.top = `${(100 * y) / SIZE}%`;
    element.classList.toggle("down", Boolean(down));
  }
}

/** Draw a stroke as a smooth curve: from one middle between two points to the next. */
function drawStroke(context, { thickness, points }) {
  const [first, ...rest] = points;
  context.beginPath();
  context.arc(...first, thickness / 2, 0, 2 * Math.PI); // a dot, where there is one point only
  context.fill();
  context.beginPath();
  context.moveTo(...first);
  rest.forEach(([x, y], i) => {
    const next = rest[i + 1] ?? [x, y];
    context.quadraticCurveTo(x, y, (x + next[0]) / 2, (y + next[1]) / 2);
  });
  context.lineWidth = thickness;
  context.lineCap = context.lineJoin = "round";
  context.stroke();
}

function placeOfPhoto(photo) {
  const scale = SIZE / Math.max(photo.width, photo.height);
  const [width, height] = [photo.width, photo.height].map((n) => Math.ceil(n * scale));
  return { x: (SIZE - width) >> 1, y: (SIZE - height) >> 1, width, height };
}

/** Draw a photo as large as the board allows, in its middle. */
function drawPhoto(context, photo, inverted) {
  const { x, y, width, height } = placeOfPhoto(photo);
  context.drawImage(photo, x, y, width, height);
  if (!inverted) return;
  context.globalCompositeOperation = "difference"; // 255 - v
  context.fillStyle = "white";
  context.fillRect(x, y, width, height);
  context.globalCompositeOperation = "source-over";
}

/** Return a canvas with the example in a shade of grey, transparent where there is no ink. */
export function exampleImage({ example, side }, shade) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  const image = new ImageData(side, side);
  example.forEach((alpha, i) => image.data.set([shade, shade, shade, alpha], 4 * i));
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}
