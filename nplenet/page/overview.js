// The map of the whole network: a link for every layer, drawn as large as its output is.
//
// Maps are seen from their edges: as high as a map, one stripe a map. A vector is a thin column.

const HIGHEST = 40; // pixels of the tallest block
const STRIPES = 16; // that are drawn at most
const SHORT = {
  Conv2d: "Conv",
  BatchNorm1d: "Norm",
  BatchNorm2d: "Norm",
  GroupNorm: "Norm",
  LayerNorm: "Norm",
  AvgPool2d: "Pool",
  GlobalAvgPool2d: "Pool",
  MaxPool2d: "Pool",
  Dropout: "Drop",
  LeakyReLU: "Leaky",
  Flatten: "Flat",
  Residual: "Add",
};

export class Overview {
  /**
   * @param list the element that gets the links
   * @param sections the elements of the layers, each with an id
   * @param steps of the network, one less than sections: the first is the image
   * @param values of some image, for the shapes
   */
  constructor(list, sections, steps, values) {
    this.list = list;
    this.sections = sections;
    const tallest = Math.max(...values.map(({ shape }) => shape[1] ?? 1));
    const longest = Math.max(2, ...values.map(({ shape }) => (shape.length === 1 ? shape[0] : 2)));
    this.links = sections.map((section, k) => {
      const type = k === 0 ? "Image" : steps[k - 1].type;
      const link = document.createElement("a");
      link.href = `#${section.id}`;
      link.setAttribute("aria-label", section.dataset.label);
      link.title = section.dataset.label;
      const label = document.createElement("span");
      label.className = "label";
      label.textContent = SHORT[type] ?? type;
      link.append(blockOf(values[k].shape, tallest, longest), label);
      const item = document.createElement("li");
      item.append(link);
      list.append(item);
      return link;
    });
    addEventListener("scroll", () => this.locate(), { passive: true });
    this.locate();
  }

  /** Mark the layer that the reader is at: the last one that begins in the upper half. */
  locate() {
    const middle = innerHeight / 2;
    const reached = this.sections.findLastIndex((one) => one.getBoundingClientRect().top < middle);
    const current = Math.max(0, reached);
    if (current === this.current) return;
    this.links[this.current]?.removeAttribute("aria-current");
    this.links[current].setAttribute("aria-current", "true");
    this.current = current;
    this.reveal(this.links[current]);
  }

  /** Scroll the map sideways, where it is wider than its place, until a link is in sight. */
  reveal(link) {
    const { list } = this;
    list.scrollLeft = link.offsetLeft - (list.clientWidth - link.offsetWidth) / 2;
  }
}

function blockOf(shape, tallest, longest) {
  const element = document.createElement("span");
  element.className = "block";
  if (shape.length === 1) {
    element.classList.add("vector");
    const height = 10 + (HIGHEST - 14) * (Math.log(shape[0]) / Math.log(longest));
    element.style.setProperty("--high", `${Math.round(height)}px`);
    return element;
  }
  const height = Math.max(6, HIGHEST * Math.sqrt((shape[1] ?? 1) / tallest));
  element.style.setProperty("--high", `${Math.round(height)}px`);
  element.style.setProperty("--maps", Math.min(STRIPES, shape[0]));
  return element;
}
