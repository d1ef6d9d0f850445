/** A run in the native protocol, read by the client of the package: it reconnects at the cursor by itself. */

import { attach, stream } from "../static/aistream.js";

const FINAL = new Set(["finished", "stopped", "interrupted", "failed", "detached"]);

export class NativeSession {
  #timeline;
  #run;

  /** `source`: `{url, prompt}` of a start, or `{events, cursor}` of a run. */
  constructor(timeline, source, onChange) {
    this.#timeline = timeline;
    const options = { fetch: timeline.fetch };
    this.#run = source.events
      ? attach(source.events, { ...options, cursor: source.cursor })
      : stream(source.url, { prompt: source.prompt }, options);
    this.#run.on("event", ({ type }) => {
      if (type === "text") timeline.markFirst();
      onChange();
    });
    this.#run.on("status", onChange);
    this.#run.done.then(onChange);
  }

  get id() {
    return this.#run.id;
  }

  get text() {
    return this.#run.text;
  }

  get status() {
    return this.#run.status;
  }

  get error() {
    return this.#run.error?.message;
  }

  get isOver() {
    return FINAL.has(this.status);
  }

  /** Number of the last event. */
  get last() {
    return Number(this.#run.cursor?.split(":")[1] ?? -1);
  }

  async stop() {
    this.#timeline.mark("stop");
    await this.#run.stop();
  }

  detach() {
    this.#timeline.mark("detach");
    this.#run.detach();
  }
}
