/** One connection that reads a run, from its request to the end of its body. */

import { countConnection, isFull } from "./connections.js";
import { Fault } from "./faults.js";
import { send } from "./requests.js";

const QUEUED = 1.5; // Seconds. A request without a response for so long may wait for a free connection.

export class Connection {
  /** Whether the request seems to wait for a free connection of the browser. */
  isQueued = false;
  #controller = new AbortController();
  #limit; // Seconds without a byte; 0: no limit.
  #watchdog;
  #queue;
  #release;
  #opened = Infinity; // Milliseconds.
  #heard = Date.now();

  constructor(silence) {
    this.limit(silence);
  }

  get signal() {
    return this.#controller.signal;
  }

  /** Seconds for which bytes arrived. */
  get lived() {
    return (this.#heard - this.#opened) / 1000;
  }

  /** Seconds since the last byte. */
  get silent() {
    return (Date.now() - this.#heard) / 1000;
  }

  /** Give the connection up; the run tries another one immediately. `early`: no attempt has failed. */
  drop(message, early = true) {
    this.#controller.abort(new Fault("connection_lost", message, { wait: 0, early }));
  }

  /** Send the request. `onSend` is called right before it, `onQueue` if it waits for a free connection. */
  async open({ url, ...request }, options, { onSend, onQueue }) {
    const beforeSend = () => {
      onSend();
      this.#release ??= countConnection(url, () => this.drop("Another request needed the connection."));
      this.#queue ??= setTimeout(() => this.#noteQueue(url, onQueue), QUEUED * 1000);
    };
    const response = await send(url, { ...request, signal: this.signal, beforeSend }, options);
    clearTimeout(this.#queue);
    this.isQueued = false;
    return response;
  }

  async #noteQueue(url, onQueue) {
    if (!(await isFull(url)) || this.signal.aborted || this.#opened !== Infinity) return;
    clearTimeout(this.#watchdog);
    this.isQueued = true;
    onQueue();
  }

  /** Give the body's bytes to `take`, which returns a promise where the reading must wait. */
  async read({ body }, take) {
    this.#opened = Date.now();
    const reader = body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const room = take(value);
      this.#heard = Date.now();
      if (room) await this.#hold(room);
    }
  }

  async #hold(room) {
    const seconds = this.#limit;
    this.limit(0);
    await Promise.race([room, new Promise((resolve) => (this.signal.onabort = resolve))]);
    this.limit(seconds);
  }

  /** Drop the connection after so many seconds without a byte. */
  limit(seconds) {
    clearTimeout(this.#watchdog);
    this.#limit = seconds;
    this.#heard = Date.now();
    // A new timer for each chunk would cost more than reading it.
    const check = () => {
      const left = seconds - this.silent;
      if (left > 0) this.#watchdog = setTimeout(check, left * 1000);
      else this.drop(`Nothing was heard for ${seconds} seconds.`, false);
    };
    if (seconds) this.#watchdog = setTimeout(check, seconds * 1000);
  }

  /** Whether it is silent for so long, half of its limit, that it is probably dead. */
  get isStale() {
    return this.#limit > 0 && !this.isQueued && this.silent > this.#limit / 2;
  }

  close() {
    clearTimeout(this.#queue);
    clearTimeout(this.#watchdog);
    this.#controller.abort();
    this.#release?.();
    this.#release = null;
  }
}
