/** One question on the page, which can be edited and sent again. */

import { button, make } from "./elements.js";
import { composes, fit, sendOnEnter } from "./textarea.js";

export class Question {
  #text;
  #send;

  /** `send(text)` is called with the edited question. */
  constructor(text, send) {
    this.#text = text;
    this.#send = send;
    this.element = make("li", "asked");
    this.#show();
  }

  #show() {
    const edit = button("Edit", () => this.#edit(), "edit");
    edit.setAttribute("aria-label", "Edit question");
    const actions = make("div", "actions");
    actions.append(edit);
    this.element.classList.remove("editing");
    this.element.replaceChildren(make("h2", "unseen", "Question"), make("p", "said", this.#text), actions);
  }

  #edit() {
    const form = make("form", "edit");
    const field = make("textarea");
    field.value = this.#text;
    field.rows = 1;
    field.setAttribute("aria-label", "Question");
    const send = make("button", "primary", "Send");
    const note = make("p", "note", "The turns after this question are removed.");
    const actions = make("div", "actions");
    actions.append(button("Cancel", () => this.#cancel()), send);
    form.append(field, note, actions);
    const submit = () => field.value.trim() && this.#send(field.value.trim());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      submit();
    });
    sendOnEnter(field, submit);
    field.addEventListener("input", () => fit(field));
    form.addEventListener("keydown", (event) => event.key === "Escape" && !composes(event) && this.#cancel());
    this.element.classList.add("editing");
    this.element.replaceChildren(make("h2", "unseen", "Question"), form);
    fit(field);
    field.focus();
  }

  #cancel() {
    this.#show();
    this.element.querySelector("button").focus();
  }
}
