// Find the digits in a picture, as the package nplenet/segment does: a module for each of its modules,
// with the same functions, so that the two can be read side by side.
//
// picture -> grey (colour) -> paper and ink, per window and polarity (ink, windows)
//         -> rules of paper removed (lines) -> connected parts (parts) -> boxes around a digit
//         removed (boxes) -> groups of parts (groups) -> papers as small as a digit (notes)
//         -> the groups that are digits (choose, contest, shapes)

import { roundEven } from "../numbers.js";
import { withoutBoxes } from "./boxes.js";
import { digits, ranked } from "./choose.js";
import { atWorkingSize, blockOf, everyPixel, greyOf } from "./colour.js";
import { groups } from "./groups.js";
import { inkOf, papersOf, same } from "./ink.js";
import { rulesOf, transposed, without } from "./lines.js";
import { notesOf } from "./notes.js";
import { partsOf } from "./parts.js";

const MIN_SIDE = 1 / 64; // of the image's longer side: a smaller part is a speck
const [AT_EDGE, AT_EDGE_OF_SMALL] = [0.2, 0.8]; // a digit often fills a small image
const WINDOWS_FOR_LINES = [0, 2];

/**
 * Find the digits in a picture.
 *
 * @param picture {channels, height, width}: bytes of one channel or three
 * @returns {best, digits, scale}: all candidates, the best first; the digits among them, in reading
 *   order; pixels of the parts per pixel of the picture
 */
export function find(picture) {
  const block = blockOf(picture);
  const { image, scale } = atWorkingSize(everyPixel(picture, block));
  const grey = greyOf(image);
  const negative = { ...grey, data: grey.data.map((v) => 255 - v) };
  const side = Math.max(grey.height, grey.width);
  const minSide = Math.max(5, roundEven(side * MIN_SIDE));
  const [dark, light] = [grey, negative].map((level) => papersOf(level, Math.max(1, scale)));
  const { found: darkGroups, mask: darkInk } = groupsOf(dark, light, minSide);
  const { found: lightGroups, mask: lightInk } = groupsOf(light, dark, minSide);
  for (const group of lightGroups) group.light = true;
  const notes = [...notesOf(lightInk, darkInk, false), ...notesOf(darkInk, lightInk, true)];
  const atEdge = scale <= 1 ? AT_EDGE : AT_EDGE_OF_SMALL;
  const best = ranked([...darkGroups, ...lightGroups], notes, side, atEdge);
  return { best, digits: digits(best), scale: scale / block };
}

/** Return the groups that all windows show, and all that the widest window takes for ink. */
function groupsOf(papers, opposite, minSide) {
  const found = [];
  let [across, down] = [[], []];
  let ink;
  for (let step = 0; step < papers.windows.length; step++) {
    const isForLines = WINDOWS_FOR_LINES.includes(step);
    if (!isForLines && same(papers, step, step - 1)) continue; // it shows the same parts
    ink = inkOf(papers, step);
    if (isForLines) {
      const lines = [rulesOf(ink.mask), rulesOf(transposed(ink.mask))];
      if (lines.flat().length > across.length + down.length) [across, down] = lines;
    }
    const isRuled = across.length || down.length;
    const mask = isRuled
      ? transposed(without(transposed(without(ink.mask, across)), down))
      : ink.mask;
    const measured = (some) => partsOf(some, ink, papers, step, opposite, minSide);
    for (const group of groups(withoutBoxes(mask, measured))) {
      group.window = step;
      found.push(group);
    }
  }
  return { found, mask: ink.mask };
}
