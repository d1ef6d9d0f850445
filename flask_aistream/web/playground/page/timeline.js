/** What happened on the connections of one run, and when. All views draw from it. */

import { RawFrames } from "./raw.js";

const MARKS = 4000; // Beyond it the oldest quarter is dropped; `facts` still counts it.
const SHOWN = 4000; // Characters of a frame.

/**
 * A mark is `{kind, at, …}` with `at` in seconds since the start. Kinds: `open`, `frame`, `heartbeat`, `closed`,
 * `lost`, `cut`, `left`, `refused` of a connection; `first`, `stop` and `detach` of the run.
 *
 * Dispatches "mark" with the mark.
 */
export class Timeline extends EventTarget {
  marks = [];
  facts = { bytes: 0, frames: 0, heartbeats: 0, connections: 0, gap: 0 };
  request = ""; // Of the last connection.
  #start = performance.now();
  #lastFrame;
  #open = new Map(); // Number of a connection → what ends it.

  now() {
    return (performance.now() - this.#start) / 1000;
  }

  get isConnected() {
    return this.#open.size > 0;
  }

  mark(kind, more) {
    const mark = { kind, at: this.now(), ...more };
    this.#count(mark);
    this.marks.push(mark);
    if (this.marks.length > MARKS) this.marks.splice(0, MARKS / 4);
    this.dispatchEvent(new CustomEvent("mark", { detail: mark }));
  }

  /** The text that is shown first is the first token. */
  markFirst() {
    if (this.facts.first !== undefined) return;
    this.facts.first = this.now();
    this.mark("first");
  }

  /** Break the connections, as a lost network does: the client is not told. */
  cut() {
    for (const cutter of this.#open.values()) cutter.abort("cut");
  }

  /** As `fetch`, for streams that are to be recorded. Other answers pass through. */
  fetch = async (url, init = {}) => {
    const cutter = new AbortController();
    const signal = init.signal ? AbortSignal.any([init.signal, cutter.signal]) : cutter.signal;
    const asked = this.now();
    const response = await fetch(url, { ...init, signal });
    if (!isStream(response)) {
      if (!response.ok) this.mark("refused", { status: response.status });
      return response;
    }
    const connection = (this.facts.connections += 1);
    this.request = `${init.method ?? "GET"} ${new URL(url, location.href).pathname}`;
    this.#open.set(connection, cutter);
    this.mark("open", { connection, asked });
    const { status, statusText, headers } = response;
    const body = this.#watched(response, { connection, cutter, left: init.signal });
    return new Response(body, { status, statusText, headers });
  };

  #watched({ body, headers }, { connection, cutter, left }) {
    const reader = body.getReader();
    const raw = new RawFrames(/event-stream/.test(headers.get("Content-Type")));
    const end = (kind) => {
      if (this.#open.delete(connection)) this.mark(kind, { connection });
    };
    return new ReadableStream({
      pull: async (controller) => {
        try {
          const { done, value } = await reader.read();
          if (done) {
            end("closed");
            return controller.close();
          }
          this.#take(raw.feed(value), connection, value.length);
          controller.enqueue(value);
        } catch (error) {
          end(cutter.signal.aborted ? "cut" : left?.aborted ? "left" : "lost");
          controller.error(error instanceof Error ? error : new TypeError("network error"));
        }
      },
      cancel: (reason) => {
        end("left");
        return reader.cancel(reason);
      },
    });
  }

  #take(pieces, connection, bytes) {
    this.facts.bytes += bytes;
    for (const piece of pieces) {
      const text = piece.length > SHOWN ? `${piece.slice(0, SHOWN)}…` : piece;
      this.mark(piece.startsWith(":") ? "heartbeat" : "frame", { connection, text });
    }
  }

  #count(mark) {
    const { facts } = this;
    if (mark.kind === "open") facts.opened ??= mark.at;
    if (mark.kind === "heartbeat") facts.heartbeats += 1;
    if (mark.kind !== "frame") return;
    facts.frames += 1;
    mark.since = mark.at - (this.#lastFrame ?? mark.at);
    facts.gap = Math.max(facts.gap, mark.since);
    this.#lastFrame = mark.at;
  }
}

function isStream({ ok, status, headers, body }) {
  return ok && status !== 204 && body && !/json/.test(headers.get("Content-Type") ?? "");
}
