/** The field at the foot of the page, with Send, or Stop while an answer arrives. */

import { composes, fit, sendOnEnter } from "./textarea.js";

export class Composer {
  #field;
  #send;
  #stop;
  #ask;
  #halt;

  /** `ask(text)` and `halt()` are called for what the person does. */
  constructor(form, { ask, halt }) {
    [this.#field, this.#send, this.#stop] = ["question", "send", "stop"].map((id) => form.elements[id]);
    [this.#ask, this.#halt] = [ask, halt];
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    sendOnEnter(this.#field, () => this.#submit());
    this.#field.addEventListener("input", () => this.#fit());
    this.#stop.addEventListener("click", () => this.#pressStop());
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !composes(event) && !isElsewhere(event)) this.#pressStop();
    });
  }

  /** Show Stop while an answer is going. */
  setBusy(isBusy) {
    const focused = document.activeElement;
    this.#stop.hidden = !isBusy;
    this.#stop.disabled = false;
    this.#send.hidden = isBusy;
    // A button that is hidden would lose the keyboard's place.
    if (focused === this.#stop || focused === this.#send) this.focus();
    this.#fit();
  }

  focus() {
    // On a touch screen the focus would bring up the keyboard, over the answer.
    if (!matchMedia("(pointer: coarse)").matches) this.#field.focus();
  }

  #submit() {
    const text = this.#field.value.trim();
    if (!text || this.#send.hidden) return;
    this.#field.value = "";
    this.#fit();
    this.#ask(text);
  }

  #pressStop() {
    if (this.#stop.hidden || this.#stop.disabled) return;
    if (document.activeElement === this.#stop) this.focus();
    this.#stop.disabled = true;
    this.#halt();
  }

  #fit() {
    this.#send.disabled = !this.#field.value.trim();
    fit(this.#field);
  }
}

/** Escape in a dialog or in an edited question closes that. */
function isElsewhere({ target }) {
  return Boolean(target.closest?.("dialog, form.edit"));
}
