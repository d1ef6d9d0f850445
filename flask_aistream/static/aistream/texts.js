/** The text of a run in pieces: that of an animation frame, or of some seconds. */

import { deferred, nextFrame, sleep } from "./delays.js";

/** `run.text` grows; `notify` is called whenever it has grown. */
export class Texts {
  #run;
  #grown = deferred();
  #isOver = false;

  constructor(run) {
    this.#run = run;
  }

  notify() {
    this.#grown.resolve();
    this.#grown = deferred();
  }

  end() {
    this.#isOver = true;
    this.notify();
  }

  iterate(every) {
    const run = this.#run;
    const closed = deferred();
    let [read, isOpen] = [0, true];
    const pause = every === "frame" ? nextFrame : () => sleep(every);
    const next = async () => {
      while (isOpen && !this.#isOver && read === run.text.length)
        await Promise.race([closed.promise, this.#grown.promise]);
      if (isOpen && !this.#isOver) await Promise.race([closed.promise, pause()]);
      const value = run.text.slice(read);
      read = run.text.length;
      return isOpen && value ? { value, done: false } : { value: undefined, done: true };
    };
    const close = () => {
      isOpen = false;
      closed.resolve();
      return Promise.resolve({ value: undefined, done: true });
    };
    return { next, return: close, [Symbol.asyncIterator]() { return this; } };
  }
}
