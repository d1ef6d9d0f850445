/**
 * What a screen reader says by itself: that an answer has begun, and its text once it has ended.
 *
 * The transcript is no live region: it would be read out word by word, and once more at each change.
 */

const KEPT = 10_000; // Milliseconds. Then only the transcript has the text, so that it is not found twice.

export class Announcer {
  #element;
  #timer;

  /** `element` has the role "status". */
  constructor(element) {
    this.#element = element;
  }

  say(text) {
    clearTimeout(this.#timer);
    this.#element.textContent = text;
    this.#timer = setTimeout(() => (this.#element.textContent = ""), KEPT);
  }
}
