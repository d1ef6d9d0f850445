/** The list of conversations of a person who is logged in: open, rename, delete. */

import * as account from "./account.js";
import { confirm, prompt } from "./confirm.js";
import { button, make } from "./elements.js";

const WIDE = matchMedia("(min-width: 75rem)");

export class Sidebar {
  #list;
  #open;
  #removed;
  #current = null;

  /** `open(id)` shows a conversation; `removed(id)` is called when one was deleted. */
  constructor(element, { open, removed }) {
    this.#list = element.querySelector("ul");
    [this.#open, this.#removed] = [open, removed];
    const unfold = () => (element.open = WIDE.matches);
    WIDE.addEventListener("change", unfold);
    unfold();
  }

  /** Mark the conversation that is shown, and load the list again. */
  async show(id = this.#current) {
    this.#current = id;
    const conversations = await account.list();
    this.#list.replaceChildren(...conversations.map((it) => this.#item(it)));
    if (conversations.length === 0) this.#list.append(make("li", "none", "None yet"));
  }

  #item({ id, title }) {
    const item = make("li");
    const open = button(title, () => this.#open(id), "open");
    if (id === this.#current) open.setAttribute("aria-current", "true");
    const actions = make("div", "actions");
    actions.append(
      labelled(button("Rename", () => this.#rename(id, title)), `Rename ${title}`),
      labelled(button("Delete", () => this.#delete(id, title)), `Delete ${title}`),
    );
    item.append(open, actions);
    return item;
  }

  async #rename(id, title) {
    const name = await prompt({ title: "Rename this conversation", label: "Title", value: title, action: "Rename" });
    if (!name) return;
    await account.rename(id, name);
    await this.show();
  }

  async #delete(id, title) {
    const text = `“${title}” is deleted on all your devices. An answer that is still going is stopped.`;
    if (!(await confirm({ title: "Delete this conversation?", text, action: "Delete" }))) return;
    await account.remove(id);
    this.#removed(id);
    await this.show();
  }
}

function labelled(element, label) {
  element.setAttribute("aria-label", label);
  return element;
}
