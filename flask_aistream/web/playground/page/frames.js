/** The frames as they came, each with its time. */

import { make, perFrame } from "./elements.js";

const ROWS = 400; // Older ones leave the page.
const NOTES = {
  open: ({ connection }) => (connection > 1 ? `connection ${connection}` : "connected"),
  closed: () => "closed by the server",
  lost: () => "connection lost",
  cut: () => "cut",
  left: () => "closed by the client",
  refused: ({ status }) => `refused: ${status}`,
  stop: () => "Stop",
  detach: () => "Detach",
};

export class Frames {
  #pane;
  #list;
  #waiting = [];
  #draw = perFrame(() => this.#append());

  constructor(pane) {
    this.#pane = pane;
    this.#list = pane.querySelector("ol");
  }

  clear() {
    this.#waiting = [];
    this.#list.replaceChildren();
  }

  add(mark) {
    if (!mark.text && !NOTES[mark.kind]) return;
    this.#waiting.push(mark);
    if (this.#waiting.length > ROWS) this.#waiting.shift();
    this.#draw();
  }

  #append() {
    const { scrollTop, scrollHeight, clientHeight } = this.#pane;
    const isAtEnd = scrollTop + clientHeight > scrollHeight - 24;
    this.#list.append(...this.#waiting.splice(0).map(row));
    while (this.#list.childElementCount > ROWS) this.#list.firstElementChild.remove();
    if (isAtEnd) this.#pane.scrollTop = this.#pane.scrollHeight;
  }
}

function row(mark) {
  const time = make("time", { text: mark.at.toFixed(3) });
  const content = mark.text ? make("code", { text: mark.text }) : make("em", { text: NOTES[mark.kind](mark) });
  return make("li", { class: mark.kind }, time, content);
}
