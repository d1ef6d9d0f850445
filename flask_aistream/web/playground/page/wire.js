/**
 * A run in any protocol, asked on the real route. After a lost connection it does what a client of the protocol can do:
 * continue at the cursor, read the answer again from its start, or nothing.
 */

import { EventStreamParser } from "../static/aistream.js";
import { PROTOCOLS } from "./protocols.js";

const RETRY = 1000; // Milliseconds.
const CHECKS = 10; // How often the end of a run is looked for that leaving has stopped, each
const CHECK = 300; // milliseconds.

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export class WireSession {
  id = null;
  text = "";
  status = "connecting";
  error;
  isOver = false;
  last = -1;
  #timeline;
  #protocol;
  #source;
  #onChange;
  #life = new AbortController();
  #cursor;

  /**
   * `source`: `{url, body, runs}` of a start, or `{run, cursor, runs}`; `runs` is the path of all runs.
   * `protocol`: a row of the server's choices.
   */
  constructor(timeline, protocol, source, onChange) {
    this.#timeline = timeline;
    this.#protocol = protocol;
    this.#source = source;
    this.#onChange = onChange;
    this.id = source.run ?? null;
    this.#cursor = source.cursor;
    this.#follow();
  }

  async stop() {
    this.#timeline.mark("stop");
    this.#set("stopping");
    const answer = await this.#fetch(`${this.#path}/stop`, { method: "POST" });
    this.#end((await answer?.json())?.status ?? "stopped");
  }

  detach() {
    this.#timeline.mark("detach");
    this.#end("detached");
  }

  get #path() {
    return `${this.#source.runs}/${this.id}`;
  }

  async #follow() {
    for (let attempt = 0; !this.isOver; attempt++) {
      if (attempt) this.#set("reconnecting");
      await this.#connect();
      if (this.isOver) return;
      if (!this.id) return this.#fail(this.error ?? "The server does not answer.");
      const status = await this.#recorded();
      if (this.isOver) return;
      if (status) return this.#end(status);
      if (!this.#protocol.resumes) return this.#fail("The connection is lost, and this protocol cannot resume.");
      this.#set("waiting");
      await sleep(RETRY);
    }
  }

  async #connect() {
    try {
      const [url, init] = this.#request();
      const response = await this.#timeline.fetch(url, { ...init, signal: this.#life.signal });
      if (!response.ok) return void (this.error = `${response.status}: ${await response.text()}`);
      this.id ??= response.headers.get("AIStream-Run");
      if (response.status === 204) return;
      this.#set("streaming");
      await this.#read(response);
    } catch (error) {
      this.error = error.message;
    }
  }

  #request() {
    if (!this.id) {
      const headers = { "Content-Type": "application/json" };
      return [this.#source.url, { method: "POST", headers, body: JSON.stringify(this.#source.body) }];
    }
    const cursor = this.#protocol.resumes === "cursor" && this.#cursor;
    if (!cursor) this.text = "";
    return [`${this.#path}/${this.#protocol.name}`, { headers: cursor ? { "Last-Event-ID": cursor } : {} }];
  }

  async #read({ body }) {
    const textOf = PROTOCOLS[this.#protocol.name].text;
    const framesOf = this.#protocol.events ? parser() : chunks();
    const reader = body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done || this.isOver) return;
      for (const frame of framesOf(value)) this.#take(frame, textOf(frame));
      this.#onChange();
    }
  }

  #take({ id }, text) {
    if (id) {
      this.#cursor = id;
      this.last = Number(id.split(":")[1]);
    }
    if (!text) return;
    this.text += text;
    this.#timeline.markFirst();
  }

  /** How the run ended; null while it goes on. One that leaving stops ends a moment later. */
  async #recorded() {
    for (let check = this.#protocol.resumes ? CHECKS : 1; ; check++) {
      const answer = await this.#fetch(this.#path);
      const status = (await answer?.json())?.status;
      if (status && status !== "running") return status;
      if (check >= CHECKS) return null;
      await sleep(CHECK);
    }
  }

  #fetch(url, init) {
    return fetch(url, init).then((answer) => (answer.ok ? answer : null), () => null);
  }

  #fail(message) {
    this.error = message;
    this.#end("failed");
  }

  #end(status) {
    if (this.isOver) return;
    if (status !== "failed") this.error = undefined;
    this.status = status;
    this.isOver = true;
    this.#life.abort();
    this.#onChange();
  }

  #set(status) {
    if (this.isOver) return;
    this.status = status;
    this.#onChange();
  }
}

function parser() {
  const frames = new EventStreamParser();
  return (bytes) => frames.feed(bytes);
}

function chunks() {
  const utf8 = new TextDecoder();
  return (bytes) => [{ data: utf8.decode(bytes, { stream: true }) }];
}
