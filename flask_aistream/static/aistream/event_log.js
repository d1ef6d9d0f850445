/** The events of a run in order, and the loops (`for await`) that read them. */

const AHEAD = 1000; // Events that the reading may be ahead of the slowest loop.
const END = Object.freeze({ value: undefined, done: true });

export class EventLog {
  #keep;
  #events = [];
  #dropped = 0; // Events before the first in #events.
  #loops = new Set();
  #ended = false;
  #room = null;

  /** `keep`: false holds only what a loop has still to read. */
  constructor(keep) {
    this.#keep = keep;
  }

  get length() {
    return this.#dropped + this.#events.length;
  }

  append(event) {
    if (!this.#keep && this.#loops.size === 0) this.#dropped += 1;
    else this.#events.push(event);
    for (const loop of this.#loops) if (loop.waiting.length) loop.waiting.shift()(this.#take(loop));
  }

  end() {
    this.#ended = true;
    for (const loop of [...this.#loops]) if (loop.waiting.length) this.#close(loop);
  }

  /** Resolves once no loop is more than AHEAD events behind; null if none is. */
  room() {
    if (!this.#full) return null;
    return new Promise((resolve) => (this.#room = resolve));
  }

  get #full() {
    for (const loop of this.#loops) if (this.length - loop.next > AHEAD) return true;
    return false;
  }

  [Symbol.asyncIterator]() {
    const loop = { next: this.#keep ? 0 : this.length, waiting: [], open: true };
    return {
      next: () => this.#next(loop),
      return: (value) => {
        this.#close(loop);
        return Promise.resolve({ value, done: true });
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  #next(loop) {
    if (!loop.open) return Promise.resolve(END);
    this.#loops.add(loop);
    if (loop.next < this.length) return Promise.resolve(this.#take(loop));
    if (this.#ended) {
      this.#close(loop);
      return Promise.resolve(END);
    }
    return new Promise((resolve) => loop.waiting.push(resolve));
  }

  #take(loop) {
    loop.next = Math.max(loop.next, this.#dropped);
    const value = this.#events[loop.next++ - this.#dropped];
    this.#trim();
    return { value, done: false };
  }

  #close(loop) {
    loop.open = false;
    this.#loops.delete(loop);
    for (const resolve of loop.waiting.splice(0)) resolve(END);
    this.#trim();
  }

  #trim() {
    if (this.#room && !this.#full) {
      this.#room();
      this.#room = null;
    }
    if (this.#keep) return;
    const read = Math.min(this.length, ...[...this.#loops].map(({ next }) => next)) - this.#dropped;
    if (read < AHEAD && read < this.#events.length) return; // To move the rest each time would cost more.
    this.#events.splice(0, read);
    this.#dropped += read;
  }
}
