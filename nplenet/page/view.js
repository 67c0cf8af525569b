// What the reader sees of the layers: their maps, and the panel with the arithmetic.

import { byId } from "./answer.js";
import { explain, placeOf } from "./explain.js";
import { Kernels } from "./kernels.js";
import { Colours, Maps } from "./maps.js";
import { describeStep } from "./sentences.js";
import { Slide } from "./slide.js";

const ROOM = 24; // pixels between a value and the panel below it

/** Write the type and the path of a step; a path may be any text, so it is never taken for HTML. */
function showTitle(element, step) {
  const path = document.createElement("code");
  path.textContent = step?.path ?? "";
  element.replaceChildren(step?.type ?? "Image", " ", path);
}

/** Say the size of a tensor: "28 × 28, 6 maps" or "84 units". */
function formOf(shape) {
  const [maps, size] = [shape[0], shape.slice(1).join(" × ")];
  return shape.length === 1 ? `${maps} units` : `${size}, ${maps} map${maps > 1 ? "s" : ""}`;
}

/** One section a layer, with its feature maps; pointing at a value explains it in the panel. */
export class Layers {
  /**
   * @param steps of the network
   * @param values between them, of any image, for their shapes
   * @param page {noun, seen, classes, chapters}: what one draws, how the network sees it, the names of
   *   the classes, and {href, title} of the book's chapter by type of layer
   * @param experiment the kernels that are off
   * @param listeners switched(step, kernel): called for a switch; slid(k): when a map is complete
   */
  constructor(steps, values, { noun, seen, classes, chapters }, experiment, { switched, slid }) {
    Object.assign(this, { steps, noun, seen, classes, chapters, experiment, switched });
    this.chosen = null; // {k, index} of the value that is explained
    this.kept = false; // it was clicked on, or reached by keys: pointing elsewhere changes nothing
    this.kernels = []; // of the tensor number k, where a convolution made it
    this.elements = [];
    this.sections = values.map((_, k) => this.section(values, k));
    this.slide = new Slide(
      {
        element: byId("slide"),
        before: byId("slide-before"),
        after: byId("slide-after"),
        back: byId("slide-back"),
        play: byId("slide-play"),
        step: byId("slide-step"),
      },
      (index) => this.choose({ k: this.chosen.k, index }, "slide"),
      () => slid(this.chosen.k),
    );
    byId("close").addEventListener("click", () => this.choose(null));
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.choose(null));
    new ResizeObserver(() => this.layout()).observe(byId("maps"));
    this.recolour();
  }

  /** Add the section of the tensor number k to the page; return its maps. */
  section(values, k) {
    const step = this.steps[k - 1];
    const { shape } = values[k];
    const form = formOf(shape);
    const section = byId("layer").content.firstElementChild.cloneNode(true);
    section.id = `layer-${k}`;
    showTitle(section.querySelector("h3"), step);
    const label = `${section.querySelector("h3").textContent.trim()}: ${form}`;
    section.dataset.label = label;
    section.querySelector(".size").textContent = form;
    section.querySelector(".sentence").textContent = this.sentence(values, k);
    this.addChapter(section.querySelector(".chapter"), step);
    this.addKernels(section, step, k);
    const slide = section.querySelector(".slide-it");
    slide.hidden = !step?.kernel_size;
    slide.textContent = step?.type === "Conv2d" ? "Slide the kernel" : "Slide the window";
    slide.setAttribute("aria-label", `${slide.textContent} of ${label}`);
    slide.addEventListener("click", () => this.startSlide(k));
    const canvas = section.querySelector(".maps");
    canvas.setAttribute("aria-label", label);
    byId("maps").append(section);
    this.elements.push(section);
    return new Maps(canvas, shape, {
      grey: step ? null : values[0],
      chosen: (index, how) => this.choose({ k, index }, how),
    });
  }

  sentence(values, k) {
    const step = this.steps[k - 1];
    if (!step) return `What the network sees: the ${this.noun}, ${this.seen}, as in its training.`;
    const [from] = step.inputs;
    const other =
      step.type !== "Residual" && from !== k - 1
        ? ` It takes what came out of ${this.elements[from].dataset.label}.`
        : "";
    return describeStep(step, values[from].shape) + other;
  }

  addChapter(link, step) {
    const chapter = this.chapters[step?.type];
    if (!chapter) return link.remove();
    link.href = chapter.href;
    link.textContent = `Chapter: ${chapter.title}`;
  }

  addKernels(section, step, k) {
    const element = section.querySelector(".kernels");
    if (step?.type !== "Conv2d") {
      section.querySelector(".about-kernels").remove();
      return element.remove();
    }
    element.setAttribute("aria-label", `Kernels of ${step.path}`);
    this.kernels[k] = new Kernels(element, step, (f) => this.switched(k - 1, f));
    this.kernels[k].element = element;
  }

  /** Show new tensors, which these steps have made. */
  show(steps, values) {
    [this.steps, this.values] = [steps, values];
    this.sections.forEach((maps, k) => maps.draw(values[k].data, this.colours));
    this.kernels.forEach((kernels, k) => kernels.show((f) => this.experiment.isOff(k - 1, f)));
    if (this.chosen) this.explain(false);
  }

  layout() {
    const available = byId("maps").clientWidth - 4;
    this.sections.forEach((maps, k) => {
      maps.layout(available);
      maps.redraw();
      // The switches stand in the columns of their maps.
      this.kernels[k]?.element.style.setProperty("--map", `${maps.width * maps.cell}px`);
    });
  }

  /** Take over the colours of the theme. */
  recolour() {
    this.colours = new Colours(getComputedStyle(document.documentElement));
    this.layout();
    for (const kernels of this.kernels) kernels?.draw(this.colours);
    if (this.values) this.show(this.steps, this.values);
  }

  /** Let the window slide over a map: of the value that is explained, or the first one. */
  startSlide(k) {
    this.choose({ k, index: this.chosen?.k === k ? this.chosen.index : 0 }, "slide");
    this.slide.start();
  }

  /**
   * Explain a value, {k, index}, that is pointed at by "hover", "click" or "key", or which comes next
   * as the window slides ("slide"); null ends it.
   */
  choose(chosen, how) {
    if (how === "hover" && (this.kept || chosen.index === this.sections[chosen.k].cursor)) return;
    if (how !== "slide") this.slide.pause();
    const wasOpen = this.chosen !== null;
    this.kept = chosen !== null && how !== "hover";
    if (this.chosen) this.mark(this.chosen.k, null, []);
    this.chosen = chosen;
    byId("panel").classList.toggle("open", chosen !== null);
    byId("panel").classList.toggle("kept", this.kept);
    byId("hint").hidden = chosen !== null;
    byId("explanation").hidden = chosen === null;
    if (!chosen) return;
    this.explain(how === "key" || (how === "slide" && !this.slide.isPlaying));
    if (this.kept && !(how === "slide" && wasOpen)) this.uncover();
  }

  /** Frame a value of the tensor number k, or none, and what it was made of. */
  mark(k, index, sources) {
    for (const n of this.steps[k - 1]?.inputs ?? []) this.sections[n].mark(null, sources);
    this.sections[k].mark(index);
    const size = this.sections[k].width * this.sections[k].height;
    this.kernels[k]?.mark(index === null ? null : Math.floor(index / size));
  }

  /** Scroll what is explained out from under the panel, which covers it on a narrow screen. */
  uncover() {
    const panel = byId("panel");
    if (getComputedStyle(panel).position !== "fixed") return;
    const { k, index } = this.chosen;
    const maps = this.sections[k];
    const bottom = maps.canvas.getBoundingClientRect().top + maps.box([index]).y + 2 * maps.cell;
    const hidden = bottom + ROOM - panel.getBoundingClientRect().top;
    if (hidden > 0) scrollBy(0, hidden);
  }

  /** Show the arithmetic of the chosen value; aloud: let screen readers say it too. */
  explain(aloud) {
    const { k, index } = this.chosen;
    const step = this.steps[k - 1];
    const { html, summary, sources } = explain(this.steps, this.values, k, index);
    this.mark(k, index, sources);
    const place = this.nameOf(k, index);
    showTitle(byId("which"), step);
    byId("place").textContent = place;
    this.showSlide(sources);
    const unfolded = this.explained === k ? unfoldedOf(byId("arithmetic")) : -1;
    byId("arithmetic").innerHTML = html;
    if (this.slide.isPlaying && unfolded >= 0)
      byId("arithmetic").querySelectorAll("details")[unfolded].open = true;
    this.explained = k;
    if (aloud) byId("spoken").textContent = `${place}. ${summary}`;
  }

  /** Name a value: by its place, and an output by its class, too. */
  nameOf(k, index) {
    const place = placeOf(this.values[k].shape, index);
    const isOutput = k >= this.values.length - 2 && this.classes[index] !== String(index);
    return isOutput ? `${place}: ${this.classes[index]}` : place;
  }

  showSlide(frames) {
    const { k, index } = this.chosen;
    const step = this.steps[k - 1];
    byId("slide").hidden = !step?.kernel_size;
    if (!step?.kernel_size) return;
    const input = this.values[step.inputs[0]];
    const grey = step.inputs[0] === 0 ? input : null;
    this.slide.show({ step, input, output: this.values[k], index, frames, grey }, this.colours);
  }
}

/** Return which of the folded parts is open. */
function unfoldedOf(element) {
  return [...element.querySelectorAll("details")].findIndex((part) => part.open);
}
