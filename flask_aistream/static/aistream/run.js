/** One run: the connections that read it one after the other, its events, and how it ends. */

import { Attempts } from "./attempts.js";
import { Connection } from "./connection.js";
import { Cursor, parseCursor } from "./cursor.js";
import { deferred, offline, onWake, within } from "./delays.js";
import { EventLog } from "./event_log.js";
import { Fault, asFault, fatal, httpFault, isEventStream } from "./faults.js";
import { EventStreamParser } from "./parser.js";
import { jsonOf, send } from "./requests.js";
import { sessionStore, stopName } from "./session_store.js";
import { settings } from "./settings.js";
import { requestStop } from "./stop_request.js";
import { Texts } from "./texts.js";

const EVENTS = /\/events(?=$|\?)/;

// Seconds.
const FAREWELL = 1; // After the end the body is read out, so that the browser can keep the connection.
const STOP_PATIENCE = 2; // Then the page shows "stopped", and the stop request goes on without it.
const NAME_PATIENCE = 0.3; // A start that is on its way has its name by then, if it ever has.

const STATUS = { stopped: "stopped", interrupted: "interrupted", error: "failed" };
const ENDED_EARLY = "The stream ended before the run did.";
const FAILURE = { code: "error", message: "The run failed." };

/**
 * Async-iterable over its events, and an EventTarget of "status", "event" and each event's type. Its
 * properties are to be read only. `status` is its state:
 *
 * | status                   | what happens                         | next status                       |
 * |--------------------------|--------------------------------------|-----------------------------------|
 * | connecting, reconnecting | the response is an event stream      | thinking; streaming after output  |
 * |                          | no connection of the browser is free | waiting                           |
 * |                          | a fault                              | waiting; failed if it is final    |
 * |                          | 204, and the record of the run ended | the end of the record             |
 * | waiting                  | the wait is over, or the page woke   | connecting; reconnecting if named |
 * | thinking                 | the first output                     | streaming                         |
 * | thinking, streaming      | the connection is lost               | waiting                           |
 * |                          | the end of the log                   | finished, stopped, interrupted,   |
 * |                          |                                      | failed                            |
 * | stopping                 | the response to the stop request     | the end it names                  |
 * |                          | no response for 2 seconds, no network| stopped; the request is repeated  |
 * |                          | a refusal                            | reconnecting                      |
 * | any of these             | `stop`: the server has no run        | stopped; nothing is sent any more |
 * |                          | `stop`: it may have one              | stopping                          |
 * |                          | `detach`                             | detached                          |
 *
 * `stop` first waits a moment for the name of a run, frees the connection, and sends the request: by name,
 * without one by the key of the start.
 */
export class Run extends EventTarget {
  /** `{events, stop}` as absolute URLs; null until the `run` event. */
  links = null;
  /** All text so far, tokens used so far, `{code, message, status?}` once the status is "failed". */
  text = "";
  usage;
  error;
  /** A copy of the last answer that was not an event stream, its body unread. */
  response;
  status = "connecting";
  #outcome = deferred();
  /** Resolves with the outcome, whatever it is; never rejects. */
  done = this.#outcome.promise;

  #options;
  #key;
  #start;
  #cursor;
  #whole; // Whether `text` begins where the run's text does.
  #spoken = false;
  #log;
  #texts = new Texts(this);
  #types = new Set(); // Of events that have had a listener.
  #failure;
  #over = false; // Nothing more is read,
  #ended = false; // because the log ended: there is nothing to stop.
  #sent; // Whether the server may have this run.
  #stopping = null;
  #life = new AbortController();
  #connection = null;
  #attempts;
  #named = deferred();

  constructor({ key, start, links, at = Date.now(), restored = false }, options) {
    super();
    this.#options = settings(options);
    const { cursor, keep, signal } = this.#options;
    [this.#key, this.#start, this.#sent] = [key, start, restored || Boolean(links)];
    this.#cursor = new Cursor(cursor);
    this.#log = new EventLog(keep !== "text");
    this.#attempts = new Attempts(this.#options.retry);
    this.#whole = !cursor;
    if (links) this.#know(links);
    if (signal?.aborted) return void this.detach();
    signal?.addEventListener("abort", () => this.detach(), { signal: this.#life.signal });
    onWake((online) => this.#wake(online), this.#life.signal);
    this.#save({ at, start, links });
    queueMicrotask(() => this.#follow());
  }

  /** Null until received. */
  get id() {
    return this.#cursor.run;
  }

  /** Where this reader stands, for `attach(url, {cursor})`; null at the beginning. */
  get cursor() {
    return this.#cursor.value;
  }

  addEventListener(type, ...rest) {
    this.#types.add(type);
    super.addEventListener(type, ...rest);
  }

  /** Call `listener` with each detail of `type`; returns a function that ends that. */
  on(type, listener) {
    const handler = (event) => listener(event.detail);
    this.addEventListener(type, handler);
    return () => this.removeEventListener(type, handler);
  }

  /** Every event from the first one, then those to come. Leaving the loop leaves the run alone. */
  [Symbol.asyncIterator]() {
    return this.#log[Symbol.asyncIterator]();
  }

  /** The text in pieces: what came in one frame, or in `every` seconds. */
  texts({ every = "frame" } = {}) {
    return this.#texts.iterate(every);
  }

  /** End the run on the server. Resolves with its answer, or null where there was nothing to stop. */
  stop() {
    if (this.#ended) return Promise.resolve(null);
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  /** Stop reading and let the run go on. */
  detach() {
    if (!this.#over) this.#leave("detached");
  }

  // ---- Connections, one after the other, until the run is over.

  async #follow() {
    const attempts = this.#attempts;
    for (let early = false; !this.#isIdle; ) {
      const before = this.#cursor.number;
      if (attempts.failures || early) this.#setStatus(this.#resuming ? "reconnecting" : "connecting");
      const fault = await this.#connect();
      if (this.#isIdle) break;
      // A connection that lived long did its work, even if the model said nothing on it.
      if (this.#cursor.number > before || this.#connection.lived > this.#options.retry.max) attempts.failures = 0;
      attempts.count(fault, early);
      const final = await attempts.judge(fault);
      if (this.#isIdle) break;
      if (final) return this.#fail(final);
      early = !(await attempts.pause(fault, (detail) => this.#setStatus("waiting", detail)));
    }
    this.#named.resolve(false);
  }

  get #isIdle() {
    return this.#over || Boolean(this.#stopping);
  }

  get #resuming() {
    return Boolean(this.links || this.cursor);
  }

  /** Open one connection and read it to its end. Returns what went wrong, if the run is not over. */
  async #connect() {
    const connection = (this.#connection = new Connection(this.#options.silence));
    const [resuming, sent] = [this.#resuming, this.#sent];
    try {
      const request = this.#request();
      const response = await connection.open(request, this.#options, {
        onSend: () => (this.#sent = true),
        onQueue: () => this.#setStatus("waiting", { reason: "connections" }),
      });
      if (this.#over) return null;
      if (response.status === 204 && resuming) return await this.#checkEnd(connection);
      if (!isEventStream(response)) throw await httpFault(response, resuming);
      this.#setStatus(this.#spoken ? "streaming" : "thinking");
      await connection.read(response, this.#reader(response.url || request.url));
      return new Fault("connection_lost", ENDED_EARLY);
    } catch (error) {
      const fault = asFault(error instanceof Fault ? error : (connection.signal.reason ?? error));
      if (fault.refused) this.#sent = sent;
      if (fault.response) this.response = fault.response;
      return fault;
    } finally {
      connection.close();
    }
  }

  #request() {
    const { cursor } = this;
    // Unlike an EventSource, it understands refusals.
    const own = { Accept: "text/event-stream, application/json", ...(cursor && { "Last-Event-ID": cursor }) };
    if (this.links) return { url: this.links.events, own };
    // Not named yet, so perhaps never started, perhaps started and the reply lost: the same key
    // makes the server attach this request to the run of the first one.
    if (this.#log.length && !cursor) throw fatal("not_resumable", "There is no cursor to resume at.");
    own["Idempotency-Key"] = this.#key;
    if (this.#start.body !== undefined) own["Content-Type"] = "application/json";
    return { ...this.#start, own };
  }

  /** Takes the bytes of one connection. A loop that falls behind holds the reading back. */
  #reader(base) {
    const parser = new EventStreamParser();
    return (bytes) => {
      const frames = parser.feed(bytes);
      if (parser.retry !== null) this.#options.retry.base = parser.retry / 1000;
      for (const frame of frames) if (!this.#over) this.#take(frame, base);
      if (!this.#over) return this.#log.room();
      this.#connection.limit(FAREWELL);
      return null;
    };
  }

  // ---- Events.

  #take({ event, data, id }, base) {
    if (id !== undefined && !this.#cursor.admit(id, event === "gap")) return;
    const value = parseJson(data);
    if (event === "message") return this.#takeMessage(value, id);
    if (event === "failure") return void (this.#failure = value); // Part of the end that follows.
    if (event === "run") this.#learn(value, base);
    if (event === "usage") this.usage = { ...this.usage, ...value };
    if (event === "gap") this.#whole = false;
    this.#emit({ ...value, type: event });
  }

  #takeMessage(value, id) {
    if (typeof value?.text === "string") {
      value.type = "text";
      return this.#addText(value);
    }
    if (value?.action !== "terminate") return this.#emit({ ...value, type: "message" });
    // The log's own end has an id. Another one is checked by asking for what follows the cursor.
    if (id === undefined && this.cursor)
      throw new Fault("connection_lost", ENDED_EARLY, this.#attempts.failures ? {} : { wait: 0 });
    this.#end(value.reason ?? "unknown", this.#failure);
  }

  #addText(event) {
    this.text += event.text;
    this.#emit(event);
    this.#texts.notify();
  }

  #learn({ run, events, stop }, base) {
    this.#cursor.run = run;
    if (!events) return;
    this.#know({ events: new URL(events, base).href, stop: new URL(stop, base).href });
    this.#save({ links: this.links });
  }

  #know(links) {
    this.links = links;
    this.#named.resolve(true);
  }

  #emit(event) {
    if (!this.#spoken && event.type !== "run") {
      this.#spoken = true;
      if (this.status === "thinking") this.#setStatus("streaming");
    }
    this.#log.append(event);
    this.#dispatch("event", event);
    this.#dispatch(event.type, event);
  }

  #dispatch(type, detail) {
    if (this.#types.has(type)) this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #setStatus(status, more) {
    if (this.#over || (this.#stopping && status !== "stopping")) return;
    this.status = status;
    this.#dispatch("status", { status, ...more });
  }

  // ---- Ends.

  /** The answer was 204: there is nothing after the cursor, and no event tells why. */
  async #checkEnd({ signal }) {
    if (!this.links) return this.#end("unknown");
    const url = this.links.events.replace(EVENTS, "");
    const response = await send(url, { signal }, this.#options);
    if (!response.ok) throw await httpFault(response, true);
    const record = await jsonOf(response);
    const [, last = this.#cursor.number] = parseCursor(record.cursor ?? "");
    const hasEnded = record.status && record.status !== "running";
    // Where no request gets the events between, the record has at least their text.
    const isLast = last <= this.#cursor.number || (this.#whole && this.#attempts.failures > 2);
    if (hasEnded && isLast) return this.#conclude(record);
    return new Fault("connection_lost", ENDED_EARLY);
  }

  /** End as the server's record of the run says, with the text that was not read. */
  #conclude({ status, text, usage, end = {} }) {
    if (this.#over) return;
    if (this.#whole && text?.length > this.text.length && text.startsWith(this.text))
      this.#addText({ text: text.slice(this.text.length), type: "text" });
    if (usage) this.usage = usage;
    if (status === "failed") this.#end("error", { code: end.code, message: end.message });
    else if (status === "finished") this.#end(end.reason ?? "unknown");
    else this.#end(status === "interrupted" ? status : "stopped");
  }

  #end(reason, failure = FAILURE) {
    this.#ended = true;
    if (reason === "error") this.error = failure;
    this.#forget();
    this.#close(STATUS[reason] ?? "finished", reason);
  }

  #fail(fault) {
    const { final, error } = fault;
    this.error = error;
    // Else the run may well go on, and `resume` can find it, after a login too.
    if (final && !(this.links && [401, 403].includes(error.status))) this.#forget();
    this.#close("failed", "error");
  }

  /** Free the connection and end here, whatever the run does. */
  #leave(status) {
    if (this.#over) return;
    if (status === "stopped") this.#forget();
    this.#connection?.close();
    this.#close(status, status);
  }

  #close(status, reason) {
    this.#over = true;
    this.#life.abort();
    this.#named.resolve(false);
    this.status = status;
    this.#dispatch("status", { status });
    const { text, usage, error } = this;
    if (status !== "detached") this.#emit({ type: "end", reason, ...(error && { error }) });
    this.#log.end();
    this.#texts.end();
    this.#attempts.end();
    this.#outcome.resolve({ status, reason, text, ...(usage && { usage }), ...(error && { error }) });
  }

  async #stop() {
    const leave = () => this.#leave("stopped") ?? null;
    const isQueued = this.#connection?.isQueued;
    this.#setStatus("stopping");
    this.#attempts.end(); // Between two connections no name can come.
    if (!this.#sent) return leave();
    const timer = setTimeout(leave, isQueued || offline() ? 0 : STOP_PATIENCE * 1000);
    if (!this.links && !this.#over && !isQueued) await within(NAME_PATIENCE, this.#named.promise);
    const answer = !this.#sent || this.#ended ? null : await this.#requestStop(leave);
    clearTimeout(timer);
    if (!answer) leave();
    else if (answer.error) this.#goOn(leave);
    else this.#conclude(answer);
    return answer;
  }

  /** A reload sends the request again, unless the server has answered it. */
  async #requestStop(onFault) {
    this.#connection?.close(); // The browser may have no other one left for the request.
    const [key, name] = [this.#key, stopName(this.#key)];
    const what = { key, links: this.links, start: this.#start && { url: this.#start.url } };
    sessionStore.write(name, { ...what, credentials: this.#options.credentials });
    const answer = await requestStop(what, this.#options, onFault);
    if (!answer?.error || answer.error.status) sessionStore.remove(name, key);
    return answer;
  }

  /** The run was not stopped: read on where that is possible. `stop` may be called again. */
  #goOn(leave) {
    this.#stopping = null;
    if (!this.links || this.#over) return void leave();
    this.#attempts.failures = 1;
    this.#follow();
  }

  /** The page or the network is back: drop a connection that is probably dead, and end the wait. */
  #wake(online) {
    if (online) this.#attempts.failures = 0;
    // Timers stand still while a page sleeps. And a network that was away seldom brings its
    // connections back, however recently they spoke.
    if (online || this.#connection?.isStale) this.#connection?.drop("The network was away.");
    this.#attempts.wake();
  }

  // ---- After a reload.

  #save(what) {
    const { persist } = this.#options;
    if (persist) sessionStore.write(persist, { key: this.#key, ...what });
  }

  #forget() {
    const { persist } = this.#options;
    if (persist) sessionStore.remove(persist, this.#key);
  }
}

function parseJson(data) {
  try {
    return JSON.parse(data);
  } catch {
    throw fatal("stream_broken", `An event holds no JSON: ${data.slice(0, 100)}`);
  }
}
