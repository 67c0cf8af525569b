// How numbers, grids of numbers and formulas are written: HTML, SVG and MathML as text.

import { runSteps } from "./model.js";

const CELL = 30; // side of a cell, in the units of its picture
const WIDEST = 8; // columns of a grid whose cells have room for numbers

/** Write a number with four decimals and a true minus sign. */
export function number(v) {
  const text = Math.abs(v) >= 1e5 ? v.toExponential(3) : v.toFixed(4);
  return text.replace(/^-(0\.0+)$/, "$1").replace("-", "−");
}

export function percent(p) {
  return `${(100 * p).toFixed(p < 0.0995 && p >= 0.0005 ? 1 : 0)} %`;
}

/** Write a number for a cell: two decimals, no leading zero. */
function cellNumber(v) {
  const size = Math.abs(v);
  const text = size >= 99.5 ? v.toPrecision(2) : v.toFixed(size >= 9.95 ? 1 : 2);
  return text
    .replace(/^(-?)0\./, "$1.")
    .replace(/^-?\.00$/, "0")
    .replace("-", "−");
}

/**
 * Draw numbers as coloured cells, blue above zero and vermillion below.
 *
 * @param title of the picture
 * @param values row by row
 * @param scale of the strongest colour
 * @param taps of a window; those outside the image are pale
 * @param winner the cell that gets a frame
 */
export function grid(title, values, [rows, columns], scale, { taps = null, winner = -1 } = {}) {
  const cells = values.map((v, i) => {
    const [x, y] = [(i % columns) * CELL, Math.floor(i / columns) * CELL];
    const strength = Math.min(1, Math.abs(v) / scale);
    const end = v < 0 ? "--negative" : "--positive";
    const fill = `color-mix(in srgb, var(${end}) ${Math.round(100 * strength)}%, var(--zero))`;
    const ink = `var(${inkOn(v / scale)})`;
    const kind = i === winner ? "winner" : taps && !taps[i].inside ? "outside" : "inside";
    const square = `x="${x + 1}" y="${y + 1}" width="${CELL - 2}" height="${CELL - 2}" rx="3"`;
    const middle = `x="${x + CELL / 2}" y="${y + 19}"`;
    const text = `<text ${middle} style="fill: ${ink}">${cellNumber(v)}</text>`;
    return (
      `<g class="${kind}"><rect ${square} style="fill: ${fill}"/>` +
      `${columns <= WIDEST ? text : ""}</g>`
    );
  });
  const label = `${title.replace(/^\W+/, "")}: ${values.map(cellNumber).join(" ")}`;
  return (
    `<figure><figcaption>${title}</figcaption>` +
    `<svg viewBox="0 0 ${CELL * columns} ${CELL * rows}" style="max-width: ${36 * columns}px" ` +
    `role="img" aria-label="${label}">${cells.join("")}</svg></figure>`
  );
}

/** Return the colour in which text is legible on a cell of strength -1 to 1. */
export function inkOn(strength) {
  if (Math.abs(strength) < 0.5) return "--text";
  if (strength < 0) return "--on-negative";
  return strength < 0.8 ? "--on-middle" : "--on-strong";
}

/** Draw a bar as long as |v| / largest. */
export function bar(v, largest) {
  const kind = v < 0 ? "negative" : "positive";
  const width = (4 * Math.abs(v)) / (largest || 1);
  return `<span class="share ${kind}" style="width: ${width.toFixed(2)}em"></span>`;
}

/** Draw the curve of an activation, with a dot where the value is. */
export function curve(step, v, value) {
  const reach = Math.max(2, 1.2 * Math.abs(v));
  const xs = Array.from({ length: 81 }, (_, i) => (i / 40 - 1) * reach);
  const ys = runSteps([{ ...step, inputs: [0] }], { shape: [81], data: Float32Array.from(xs) })[1]
    .data;
  const height = Math.max(...ys.map(Math.abs));
  const point = (x, y) => [((100 * x) / reach).toFixed(1), ((-42 * y) / height).toFixed(1)];
  const line = xs.map((x, i) => point(x, ys[i]).join(",")).join(" ");
  const [x, y] = point(v, value);
  return (
    `<svg class="curve" viewBox="-104 -50 208 100" aria-hidden="true">` +
    `<path d="M-104 0H104M0 -50V50"/><polyline points="${line}"/>` +
    `<circle cx="${x}" cy="${y}" r="4"/></svg>`
  );
}

export function note(text) {
  return `<p class="note">${text}</p>`;
}

// --- formulas, in MathML ---

/** Write one line of a formula; its parts stand side by side. */
export function formula(...parts) {
  return `<p class="formula"><math displaystyle="true">${parts.join(" ")}</math></p>`;
}

export const mi = (letter) => `<mi>${letter}</mi>`;
export const mo = (sign) => `<mo stretchy="false">${sign}</mo>`;
export const mtext = (text) => `<mtext>${text}</mtext>`;
export const plain = (text) => `<mn>${text}</mn>`;
export const mn = (v) => plain(number(v));
export const signed = (v) => `${mo(v < 0 ? "−" : "+")} ${mn(Math.abs(v))}`;
export const frac = (a, b) => `<mfrac><mrow>${a}</mrow><mrow>${b}</mrow></mfrac>`;
export const root = (inner) => `<msqrt>${inner}</msqrt>`;
export const power = (base, exponent) => `<msup>${mi(base)}<mrow>${exponent}</mrow></msup>`;
export const sub = (base, index) => `<msub>${base}${index}</msub>`;

/** Write the value that is explained. */
export const total = (v) => `<mn class="total">${number(v)}</mn>`;
export const EQUALS = mo("=");
