/** One run: the connections that read it one after the other, its events, and how it ends. */

import { Connection } from "./connection.js";
import { Cursor, parseCursor } from "./cursor.js";
import { Delays, backoff, deferred, hidden, offline, within } from "./delays.js";
import { EventLog } from "./event_log.js";
import { Fault, LONGEST, asFault, fatal, httpFault, isEventStream } from "./faults.js";
import { EventStreamParser } from "./parser.js";
import { HEADERS_LIMIT, send } from "./requests.js";
import { sessionStore, stopName } from "./session_store.js";
import { settings } from "./settings.js";
import { requestStop } from "./stop_request.js";
import { Texts } from "./texts.js";

const EVENTS = /\/events(?=$|\?)/;

// Seconds.
const FAREWELL = 1; // After the end the body is read out, so that the browser can keep the connection.
const STOP_PATIENCE = 2; // Then the page shows "stopped", and the stop request goes on without it.

const STATUS = { stopped: "stopped", interrupted: "interrupted", error: "failed" };
const ENDED_EARLY = "The stream ended before the run did.";
const FAILURE = { code: "error", message: "The run failed." };

/**
 * Async-iterable over its events, and an EventTarget of "status", "event" and each event's type. Its
 * properties are to be read only.
 *
 * `stop` depends on where the run stands:
 *
 * | the run                                        | stop                                            |
 * |------------------------------------------------|-------------------------------------------------|
 * | has ended                                      | null                                            |
 * | nothing was sent, or the start was refused     | "stopped" at once; nothing is sent any more     |
 * | was sent, and has no name yet                  | waits for the name, then asks by its key        |
 * | has a name                                     | frees its connection, then sends the request    |
 * | was left                                       | sends the request                               |
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
  #failures = 0;
  #delays = new Delays();
  #named = deferred();

  constructor({ key, start, links, at = Date.now(), restored = false }, options) {
    super();
    this.#options = settings(options);
    const { cursor, keep, signal } = this.#options;
    [this.#key, this.#start, this.#sent] = [key, start, restored || Boolean(links)];
    this.#cursor = new Cursor(cursor);
    this.#log = new EventLog(keep !== "text");
    this.#whole = !cursor;
    if (links) this.#know(links);
    if (signal?.aborted) return void this.detach();
    this.#listen(signal, "abort", () => this.detach());
    this.#listen(globalThis, "online", () => this.#wake(true));
    this.#listen(globalThis, "pageshow", () => this.#wake());
    this.#listen(globalThis.document, "visibilitychange", () => hidden() || this.#wake());
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
    for (let woken = false; !this.#isIdle; ) {
      const before = this.#cursor.number;
      if (this.#failures || woken) this.#setStatus(this.#resuming ? "reconnecting" : "connecting");
      const fault = await this.#connect();
      if (this.#isIdle) break;
      const { attempts, max } = this.#options.retry;
      // A connection that lived long did its work, even if the model said nothing on it.
      if (this.#cursor.number > before || this.#connection.lived > max) this.#failures = 0;
      // Failing without a network says nothing of the server, and waking up must not use up attempts.
      if (!offline() && !woken) this.#failures += 1;
      const final = await this.#decide(fault, fault.final || this.#failures > attempts);
      if (this.#isIdle) break;
      if (final) return this.#fail(final);
      woken = !(await this.#pause(fault));
    }
    this.#named.resolve(false);
  }

  get #isIdle() {
    return this.#over || Boolean(this.#stopping);
  }

  get #resuming() {
    return Boolean(this.links || this.cursor);
  }

  /** The fault to give up with, or null: as `retry.decide` says, and `final` where it says nothing. */
  async #decide(fault, final) {
    const { decide } = this.#options.retry;
    const own = final ? fault : null;
    if (!decide) return own;
    const { error, wait, response } = fault;
    try {
      const asked = { ...error, attempt: this.#failures, wait, final, response };
      const verdict = await within(HEADERS_LIMIT, decide(asked), () => undefined);
      if (verdict === "stop") return fault;
      if (verdict === "retry") return null;
      if (!(typeof verdict === "number" && verdict >= 0)) return own;
      return void Object.assign(fault, { wait: Math.min(verdict, LONGEST), firm: false });
    } catch (error) {
      return fatal("decide_failed", `The \`retry.decide\` function failed: ${error?.message ?? error}.`);
    }
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
      if (!isEventStream(response)) {
        const fault = await httpFault(response, resuming);
        this.response = fault.response;
        if (fault.refused) this.#sent = sent;
        return fault;
      }
      this.#setStatus(this.#spoken ? "streaming" : "thinking");
      await connection.read(response, this.#reader(response.url || request.url));
      return new Fault("connection_lost", ENDED_EARLY);
    } catch (error) {
      return asFault(error instanceof Fault ? error : (connection.signal.reason ?? error));
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
      throw new Fault("connection_lost", ENDED_EARLY, { wait: 0 });
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
    if (!response.ok) return httpFault(response, true);
    const record = await response.json().catch(() => ({}));
    const [, last = this.#cursor.number] = parseCursor(record.cursor ?? "");
    const hasEnded = record.status && record.status !== "running";
    if (hasEnded && last <= this.#cursor.number) return this.#conclude(record);
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
    this.error = fault.error;
    if (fault.final) this.#forget(); // Else the run may well go on: `resume` can still find it.
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
    this.#delays.end(true);
    this.#outcome.resolve({ status, reason, text, ...(usage && { usage }), ...(error && { error }) });
  }

  async #stop() {
    const patience = this.#connection?.isQueued || offline() ? 0 : STOP_PATIENCE;
    this.#setStatus("stopping");
    this.#delays.end(true); // Between two connections no name can come.
    if (this.#sent && !this.links && !this.#over)
      await within(patience, this.#named.promise, () => false);
    if (this.#ended) return null;
    if (!this.#sent) return this.#leave("stopped") ?? null;
    // The browser may have no other connection left for the request.
    this.#connection?.close();
    const leave = () => this.#leave("stopped");
    const timer = setTimeout(leave, patience * 1000);
    const answer = await this.#requestStop(leave);
    clearTimeout(timer);
    if (answer && !answer.error) this.#conclude(answer);
    else if (this.links && !this.#over) this.#goOn();
    else leave();
    return answer;
  }

  /** A reload sends the request again, unless the server has answered it. */
  async #requestStop(onFault) {
    const [key, name] = [this.#key, stopName(this.#key)];
    const what = { key, links: this.links, start: this.#start && { url: this.#start.url } };
    sessionStore.write(name, { ...what, credentials: this.#options.credentials });
    const answer = await requestStop(what, this.#options, onFault);
    if (!answer?.error || answer.error.status) sessionStore.remove(name, key);
    return answer;
  }

  /** The server refused to stop the run: read on. */
  #goOn() {
    this.#stopping = null;
    this.#failures = 1;
    this.#follow();
  }

  // ---- Waiting.

  /**
   * Wait as long as the fault asks for, and longer where there is no network; not for ever, since a
   * browser may be wrong about that. Returns false if the page woke up meanwhile.
   */
  async #pause({ wait, firm, error }) {
    const { retry } = this.#options;
    const attempt = this.#failures;
    const seconds = wait ?? backoff(retry, attempt);
    const reason = error.status && !offline() ? "server" : "network";
    this.#setStatus("waiting", { attempt, wait: seconds, reason, error });
    const ran = await this.#delays.wait(seconds, firm);
    if (!offline() || this.#isIdle) return ran;
    this.#setStatus("waiting", { attempt, wait: retry.max, reason: "network", error });
    return this.#delays.wait(retry.max);
  }

  /** The page or the network is back: drop a connection that is probably dead, and end the wait. */
  #wake(online = false) {
    if (online) this.#failures = 0;
    // Timers stand still while a page sleeps. And a network that was away seldom brings its
    // connections back, however recently they spoke.
    if (online || this.#connection?.isStale) this.#connection?.drop("The network was away.");
    this.#delays.end();
  }

  #listen(target, type, listener) {
    target?.addEventListener?.(type, listener, { signal: this.#life.signal });
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
