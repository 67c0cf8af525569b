// Tasks for a lesson: what to try on this page, and what to find. Some are marked when they are done.

import { outputSize } from "./model.js";

/**
 * Return the tasks that fit a network: lists of {text, answer, done}.
 *
 * @param noun what one draws, such as "digit"
 * @param convolution the first one; undefined without one
 * @param shape of its input
 */
export function tasksFor(noun, convolution, shape) {
  return [
    {
      text: `Draw a ${noun} that the network reads, then change it, stroke by stroke, until it is wrong. Which stroke was it?`,
      answer: `There is no rule in the network such as "a 4 has three strokes". It weighs all pixels at once, and learned the weights from examples: what is rare among them it reads badly.`,
    },
    {
      text: "Press Invert: black becomes white, and white black. Which maps change, and does the answer?",
      answer: `Compare the two columns of bars. A network that saw inverted images in its training gives the same answer for both; one that did not is lost.`,
      done: ({ inverted }) => inverted,
    },
    ...(convolution ? tasksOfKernels(convolution, shape) : []),
    {
      text: "Without touching the drawing, bring the probability of the answer below 50 %. Can the temperature change the answer, too?",
      answer: `No: all outputs are divided by the same number, so their order stays. High, it makes them alike, and every class gets the same share in the end; low, the largest takes all.`,
      done: ({ sure, temperature }) => sure !== null && sure < 0.5 && temperature > 1,
    },
    {
      text: `Draw what is not a ${noun}: a star, a house, a scribble. How sure is the network?`,
      answer: `Often very: the softmax shares out 100 % among the classes, whatever the drawing is. A high probability means "of all classes this one", not "this is a ${noun}".`,
    },
  ];
}

function tasksOfKernels(step, shape) {
  const [OH, OW] = outputSize(step, shape);
  const [side, kernel, stride] = [shape[1], step.kernel_size[0], step.stride[0]];
  const padding = step.padding[0];
  const room = padding ? `${side} + 2 · ${padding} − ${kernel}` : `${side} − ${kernel}`;
  const formula = stride === 1 ? `${room} + 1` : `(${room}) / ${stride} + 1, rounded down,`;
  return [
    {
      text: "Choose a value of the first convolution where the drawing has an edge. Check one row of its products with a calculator.",
      answer: `Window times kernel, number by number, then the sum and the bias. Where light meets dark, products of one sign win; on an even surface they cancel in kernels that look for edges.`,
    },
    {
      text: "Let a kernel of the first convolution slide to the end of its map. How many places does it visit, and why so many?",
      answer: `${OH} × ${OW} = ${OH * OW}: a side of ${side} has room for ${formula} = ${OH} places of a kernel ${kernel} high.`,
      done: ({ slid }) => slid,
    },
    {
      text: "Switch off kernels until the answer changes. How few does it take?",
      answer: `Kernels whose maps are strong for this drawing matter most. Often no single one decides: the others have learned to see something similar.`,
      done: ({ off, changed }) => off > 0 && changed,
    },
    {
      text: "Now the other way: switch off half of the kernels of the first convolution, and keep the answer.",
      answer: `A trained network has more kernels than one drawing needs. So networks can be pruned: kernels that matter little are taken out, and it computes less.`,
      done: ({ offFirst, changed }) => offFirst >= step.out_channels / 2 && !changed,
    },
  ];
}

/** The list of tasks on the page. */
export class Tasks {
  constructor(list, tasks) {
    this.tasks = tasks.map((task) => ({ ...task, item: addTask(list, task) }));
  }

  /** Mark the tasks that are done in this state of the page; what was done once stays done. */
  check(state) {
    for (const { done, item } of this.tasks) {
      if (!done?.(state) || item.classList.contains("done")) continue;
      item.classList.add("done");
      item.querySelector(".unseen").textContent = "This task is done.";
    }
  }
}

function addTask(list, { text, answer }) {
  const item = document.createElement("li");
  item.innerHTML =
    '<p></p><span class="unseen" role="status"></span>' +
    "<details><summary>Answer</summary><p></p></details>";
  const [question, solution] = item.querySelectorAll("p");
  question.textContent = text;
  solution.textContent = answer;
  list.append(item);
  return item;
}
