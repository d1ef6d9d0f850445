/** `<ai-stream src prompt method persist>`: a run as an element. It holds text, never markup. */

import { resume, stream } from "../aistream.js";
import { nextFrame } from "./delays.js";

const DONE = new Set(["finished", "stopped", "interrupted", "failed", "detached"]);

export class AIStreamElement extends (globalThis.HTMLElement ?? Object) {
  /** More options for `stream`, such as `headers`; may be there before the module is. */
  options = this.options ?? {};
  #run = null;
  #begun = false;
  #unshown = [];

  /** The run shown, or null. */
  get run() {
    return this.#run;
  }

  connectedCallback() {
    if (!this.hasAttribute("aria-live")) this.setAttribute("aria-live", "polite");
    queueMicrotask(() => this.#begin());
  }

  disconnectedCallback() {
    // An element that is only moved is connected again by then.
    queueMicrotask(() => this.isConnected || this.#run?.detach());
  }

  /** Ask, in place of what is shown; a run that is still going is stopped. Returns the run. */
  ask(prompt) {
    this.#run?.stop();
    const method = this.getAttribute("method") ?? undefined;
    return this.#show(stream(this.getAttribute("src"), prompt, { method, ...this.#settings }));
  }

  stop() {
    return this.#run ? this.#run.stop() : Promise.resolve(null);
  }

  get #settings() {
    return { persist: this.getAttribute("persist") ?? undefined, ...this.options };
  }

  #begin() {
    // Removed again, only moved, or asked by the page that put it there.
    if (!this.isConnected || (this.#run && this.#run.status !== "detached")) return;
    const name = this.getAttribute("persist");
    const found = name && resume(name, this.#settings);
    if (found) this.#show(found);
    else if (!this.#begun && this.hasAttribute("prompt")) this.ask(this.getAttribute("prompt"));
    this.#begun = true;
  }

  #show(run) {
    this.#run = run;
    this.#unshown = [];
    this.replaceChildren();
    this.#reflect(run);
    const mine = (type, act) => run.on(type, (detail) => run === this.#run && act(detail));
    mine("text", (event) => (this.#append(event.text), this.#dispatch("text", event)));
    mine("status", (detail) => (this.#flush(), this.#reflect(run), this.#dispatch("status", detail)));
    run.done.then((outcome) => run === this.#run && this.#dispatch("end", outcome));
    return run;
  }

  /** One text node per frame: a node per token would cost more than the network. */
  #append(text) {
    if (this.#unshown.push(text) === 1) nextFrame().then(() => this.#flush());
  }

  #flush() {
    if (this.#unshown.length) this.append(this.#unshown.splice(0).join(""));
  }

  #reflect({ status }) {
    this.setAttribute("status", status);
    this.setAttribute("aria-busy", String(!DONE.has(status))); // Screen readers wait for the whole answer.
  }

  #dispatch(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail, bubbles: true }));
  }
}

if (globalThis.customElements && !customElements.get("ai-stream")) {
  customElements.define("ai-stream", AIStreamElement);
}
