// The slider of the softmax's temperature; a mark shows the temperature that was measured to be right.

import { byId } from "./answer.js";

/** The slider holds the power of two; it is at the model's own temperature where it stands nearest. */
export class Temperature {
  /**
   * @param measured the temperature that makes the model's answers as sure as they are right; null if
   *   it was not measured, and the softmax is the plain one
   * @param changed called with a new temperature
   */
  constructor(measured, changed) {
    const own = measured ?? 1;
    Object.assign(this, { own, changed, slider: byId("temperature") });
    this.slider.value = Math.log2(own);
    this.ownValue = this.slider.value; // of the steps that the slider has
    const { min, max } = this.slider;
    const share = (this.ownValue - min) / (max - min);
    byId("own-words").textContent =
      measured === null
        ? "At the mark, 1, it changes nothing."
        : `The mark is this model’s own, ${shown(own)}: there the network is as sure as it is right.`;
    byId("own-temperature").textContent = `Back to ${shown(own)}`;
    byId("own-temperature").addEventListener("click", () => this.reset());
    byId("own-mark").style.setProperty("--share", share);
    this.slider.addEventListener("input", () => this.set());
    this.say(own);
  }

  reset() {
    this.slider.value = this.ownValue;
    this.set();
  }

  set() {
    const { value } = this.slider;
    const temperature =
      value === this.ownValue ? this.own : Number((2 ** Number(value)).toPrecision(2));
    this.say(temperature);
    this.changed(temperature);
  }

  say(temperature) {
    byId("kelvin").textContent = shown(temperature);
    this.slider.setAttribute("aria-valuetext", shown(temperature));
    byId("own-temperature").classList.toggle("useless", temperature === this.own);
  }
}

function shown(temperature) {
  return Number(temperature.toPrecision(2)).toString();
}
