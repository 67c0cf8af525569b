// What the reader sees: the answer, the layers, and the panel with the arithmetic.

import { describeStep, explain, placeOf } from "./explain.js";
import { Colours, Maps } from "./maps.js";
import { percent } from "./markup.js";

const ROOM = 24; // pixels between a value and the panel below it
export const byId = (id) => document.getElementById(id);

/** The most likely class, and the bars of all classes for the image and for its inverse. */
export class Answer {
  constructor(classes) {
    byId("bars").innerHTML = Array.from({ length: classes }, (_, k) => {
      const cell = (kind) =>
        `<td class="${kind}"><span class="bar"></span><span class="share-text"></span></td>`;
      return `<tr><th scope="row">${k}</th>${cell("image")}${cell("inverse")}</tr>`;
    }).join("");
  }

  /** Show two lists of probabilities; null for an empty board. */
  show(image, inverse) {
    const answer = image ? image.indexOf(Math.max(...image)) : null;
    byId("answer").textContent = image ? answer : "–";
    byId("sure").textContent = image ? percent(image[answer]) : "draw a digit";
    [...byId("bars").rows].forEach((row, k) => {
      row.classList.toggle("most", k === answer);
      showBar(row.cells[1], image?.[k]);
      showBar(row.cells[2], inverse?.[k]);
    });
  }
}

function showBar(cell, probability = null) {
  cell.firstChild.style.setProperty("--share", probability ?? 0);
  cell.lastChild.textContent = probability === null ? "" : percent(probability);
}

/** Write the type and the path of a step; a path may be any text, so it is never taken for HTML. */
function showTitle(element, step) {
  const path = document.createElement("code");
  path.textContent = step?.path ?? "";
  element.replaceChildren(step?.type ?? "Image", " ", path);
}

/** One section a layer, with its feature maps; pointing at a value explains it in the panel. */
export class Layers {
  constructor(steps, values) {
    this.steps = steps;
    this.chosen = null; // {k, index} of the value that is explained
    this.kept = false; // it was clicked on, or reached by keys: pointing elsewhere changes nothing
    this.sections = values.map((_, k) => this.section(values, k));
    byId("close").addEventListener("click", () => this.choose(null));
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.choose(null));
    new ResizeObserver(() => this.layout()).observe(byId("maps"));
    this.recolour();
  }

  /** Add the section of the tensor number k to the page; return its maps. */
  section(values, k) {
    const step = this.steps[k - 1];
    const { shape } = values[k];
    const [maps, size] = [shape[0], shape.slice(1).join(" × ")];
    const form =
      shape.length === 1 ? `${maps} units` : `${size}, ${maps} map${maps > 1 ? "s" : ""}`;
    const section = byId("layer").content.firstElementChild.cloneNode(true);
    showTitle(section.querySelector("h3"), step);
    section.querySelector(".size").textContent = form;
    section.querySelector(".sentence").textContent = step
      ? describeStep(step, values[k - 1].shape)
      : "What the network sees: the digit, scaled to 20 pixels and centred, as in its training.";
    const canvas = section.querySelector("canvas");
    canvas.setAttribute("aria-label", `${section.querySelector("h3").textContent}: ${form}`);
    byId("maps").append(section);
    return new Maps(canvas, shape, {
      grey: k === 0,
      chosen: (index, how) => this.choose({ k, index }, how),
    });
  }

  /** Show new tensors. */
  show(values) {
    this.values = values;
    this.sections.forEach((maps, k) => maps.draw(values[k].data, this.colours));
    if (this.chosen) this.explain(false);
  }

  layout() {
    const available = byId("maps").clientWidth - 4;
    for (const maps of this.sections) {
      maps.layout(available);
      maps.redraw();
    }
  }

  /** Take over the colours of the theme. */
  recolour() {
    this.colours = new Colours(getComputedStyle(document.documentElement));
    this.layout();
    if (this.values) this.show(this.values);
  }

  /** Explain a value, {k, index}, that is pointed at by "hover", "click" or "key"; null ends it. */
  choose(chosen, how) {
    if (how === "hover" && (this.kept || chosen.index === this.sections[chosen.k].cursor)) return;
    this.kept = chosen !== null && how !== "hover";
    if (this.chosen) {
      this.sections[this.chosen.k].mark(null);
      this.sections[this.chosen.k - 1]?.mark(null);
    }
    this.chosen = chosen;
    byId("panel").classList.toggle("open", chosen !== null);
    byId("panel").classList.toggle("kept", this.kept);
    byId("hint").hidden = chosen !== null;
    byId("explanation").hidden = chosen === null;
    if (!chosen) return;
    this.explain(how === "key");
    if (this.kept) this.uncover();
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
    const { html, summary, sources } = explain(this.steps, this.values, k, index);
    this.sections[k - 1]?.mark(null, sources);
    this.sections[k].mark(index);
    const place = placeOf(this.values[k].shape, index);
    showTitle(byId("which"), this.steps[k - 1]);
    byId("place").textContent = place;
    byId("arithmetic").innerHTML = html;
    if (aloud) byId("spoken").textContent = `${place}. ${summary}`;
  }
}
