// The kernels of a convolution as pictures, each a switch: off, its map is zero.

import { channelsOf } from "./model.js";

const KERNEL_WIDTH = 78; // pixels of a picture
const CELL_SIDES = [9, 2]; // pixels of a weight, at most and at least
const MAX_KERNELS = 128; // kernels that are shown

export class Kernels {
  /**
   * @param element that gets the switches
   * @param step a Conv2d
   * @param switched called with the number of a kernel
   */
  constructor(element, step, switched) {
    this.step = step;
    this.shown = Math.min(step.out_channels, MAX_KERNELS);
    this.buttons = Array.from({ length: this.shown }, (_, f) => {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("role", "switch");
      button.setAttribute("aria-label", `Kernel ${f}`);
      button.append(document.createElement("canvas"));
      button.addEventListener("click", () => switched(f));
      return button;
    });
    element.append(...this.buttons);
    if (this.shown < step.out_channels) {
      const rest = document.createElement("p");
      rest.textContent = `and ${step.out_channels - this.shown} more`;
      element.append(rest);
    }
  }

  /** Show which kernels are off: isOff(f). */
  show(isOff) {
    this.buttons.forEach((button, f) => button.setAttribute("aria-checked", !isOff(f)));
  }

  /** Mark the kernel whose map is explained, or none: null. */
  mark(kernel) {
    this.buttons.forEach((button, f) => button.classList.toggle("used", f === kernel));
  }

  /** Paint every kernel: its channels side by side, blue above zero and vermillion below. */
  draw(colours) {
    const { step } = this;
    const C = channelsOf(step);
    const [KH, KW] = step.kernel_size;
    const largest = step.weight.reduce((most, v) => Math.max(most, Math.abs(v)), 1e-12);
    const wide = Math.ceil(Math.sqrt(C));
    const [most, least] = CELL_SIDES;
    const cell = Math.max(least, Math.min(most, Math.floor(KERNEL_WIDTH / (wide * KW + wide - 1))));
    const [w, h] = [wide * (KW * cell + 2) - 2, Math.ceil(C / wide) * (KH * cell + 2) - 2];
    const ratio = Math.ceil(window.devicePixelRatio || 1);
    this.buttons.forEach((button, f) => {
      const canvas = button.firstChild;
      [canvas.width, canvas.height] = [w * ratio, h * ratio];
      canvas.style.width = `${w}px`;
      const context = canvas.getContext("2d");
      context.scale(ratio, ratio);
      for (let i = 0; i < C * KH * KW; i++) {
        const [c, kh, kw] = [Math.floor(i / (KH * KW)), Math.floor(i / KW) % KH, i % KW];
        const x = (c % wide) * (KW * cell + 2) + kw * cell;
        const y = Math.floor(c / wide) * (KH * cell + 2) + kh * cell;
        context.fillStyle = `rgb(${colours.of(step.weight[f * C * KH * KW + i] / largest)})`;
        context.fillRect(x, y, cell, cell);
      }
    });
  }
}
