/** One run: the connections that read it one after the other, its events, and how it ends. */

import { countConnection, isFull } from "./connections.js";
import { Delays, backoff, deferred, hidden, nextFrame, offline, sleep, within } from "./delays.js";
import { EventLog } from "./event_log.js";
import { Fault, LONGEST, asFault, fatal, httpFault, isEventStream } from "./faults.js";
import { EventStreamParser } from "./parser.js";
import { repeat, send } from "./requests.js";
import { sessionStore } from "./session_store.js";

const CURSOR = /^([\w-]{1,64}):(\d{1,15})$/;
const EVENTS = /\/events(?=$|\?)/;
const BEGINNING = -1;

// Seconds. The server sends a heartbeat every 15: two may get lost before a connection counts as dead.
const SILENCE = 45;
const RETRY = { attempts: 10, base: 1, max: 30 };
const FAREWELL = 1; // After the end the body is read out, so that the browser can keep the connection.
const QUEUED = 1.5; // A request without an answer for so long may wait for a free connection.
const STOP_PATIENCE = 2; // Then the page shows "stopped", and the stop request goes on without it.
const STOP_LIMIT = 10; // Of one attempt.
const RECHECK = 1; // A start that is still on its way is looked for once more.

const STATUS = { stopped: "stopped", interrupted: "interrupted", error: "failed" };
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
  /** Id of the run and `{events, stop}` as absolute URLs; null until the `run` event. */
  id = null;
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
  #last = BEGINNING;
  #prefix = null; // What each id of this run begins with.
  #whole; // Whether `text` begins where the run's text does.
  #spoken = false;
  #log;
  #types = new Set(); // Of events that have had a listener.
  #grown = deferred(); // Replaced whenever `text` grows.
  #failure;
  #over = false; // Nothing more is read,
  #ended = false; // because the log ended: there is nothing to stop.
  #sent; // Whether the server may have this run.
  #stopping = null;
  #queued = false; // Whether the request seems to wait for a free connection.
  #life = new AbortController();
  #connection = new AbortController();
  #opened = Infinity;
  #heard = 0;
  #held = false;
  #watchdog;
  #failures = 0;
  #delays = new Delays();
  #named = deferred();

  constructor({ key, start, links, at = Date.now(), restored = false }, options) {
    super();
    this.#options = settings(options);
    const { cursor, keep, signal } = this.#options;
    [this.#key, this.#start, this.#sent] = [key, start, restored || Boolean(links)];
    this.#log = new EventLog(keep !== "text");
    this.#whole = !cursor;
    if (cursor) this.#moveTo(...parseCursor(cursor, true));
    if (links) this.#know(links);
    if (signal?.aborted) return void this.detach();
    this.#listen(signal, "abort", () => this.detach());
    this.#listen(globalThis, "online", () => this.#wake(true));
    this.#listen(globalThis, "pageshow", () => this.#wake());
    this.#listen(globalThis.document, "visibilitychange", () => hidden() || this.#wake());
    this.#save({ at, start, links });
    queueMicrotask(() => this.#follow());
  }

  /** Where this reader stands, for `attach(url, {cursor})`; null at the beginning. */
  get cursor() {
    return this.#last === BEGINNING ? null : `${this.id}:${this.#last}`;
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
    const closed = deferred();
    let [read, open] = [0, true];
    const pause = every === "frame" ? nextFrame : () => sleep(every);
    const next = async () => {
      while (open && !this.#over && read === this.text.length)
        await Promise.race([closed.promise, this.#grown.promise]);
      if (open && !this.#over) await Promise.race([closed.promise, pause()]);
      const value = this.text.slice(read);
      read = this.text.length;
      return open && value ? { value, done: false } : { value: undefined, done: true };
    };
    const close = () => {
      open = false;
      closed.resolve();
      return Promise.resolve({ value: undefined, done: true });
    };
    return { next, return: close, [Symbol.asyncIterator]() { return this; } };
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
      const before = this.#last;
      if (this.#failures || woken) this.#setStatus(this.#resuming ? "reconnecting" : "connecting");
      const fault = await this.#connect();
      if (this.#isIdle) break;
      const { attempts, max } = this.#options.retry;
      // A connection that lived long did its work, even if the model said nothing on it.
      const lived = (this.#heard - this.#opened) / 1000;
      if (this.#last > before || lived > max) this.#failures = 0;
      // Failing without a network says nothing of the server, and waking up must not use up attempts.
      if (!offline() && !woken) this.#failures += 1;
      const final = this.#isFinal(fault, this.#failures > attempts);
      if (final) return this.#fail(fault);
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

  /** Whether to give up: as `retry.decide` says, and by our own rule where it says nothing. */
  #isFinal(fault, exhausted) {
    const { error, wait, final, response } = fault;
    const asked = { ...error, attempt: this.#failures, wait, final: final || exhausted, response };
    const verdict = this.#options.retry.decide?.(asked);
    if (typeof verdict === "number") Object.assign(fault, { wait: verdict, firm: false });
    return verdict === undefined ? final || exhausted : verdict === "stop";
  }

  /** Open one connection and read it to its end. Returns what went wrong, if the run is not over. */
  async #connect() {
    const connection = (this.#connection = new AbortController());
    const { signal } = connection;
    const [resuming, sent] = [this.#resuming, this.#sent];
    let release;
    let queued;
    try {
      this.#opened = Infinity;
      this.#queued = false;
      this.#resetWatchdog();
      const { url, ...request } = this.#request();
      const beforeSend = () => {
        this.#sent = true;
        release ??= countConnection(url);
        queued ??= setTimeout(() => this.#noteQueue(url, signal), QUEUED * 1000);
      };
      const response = await send(url, { ...request, signal, beforeSend }, this.#options);
      clearTimeout(queued);
      this.#queued = false;
      if (this.#over) return null;
      if (response.status === 204 && resuming) return await this.#checkEnd();
      if (!isEventStream(response)) {
        const fault = await httpFault(response, resuming);
        this.response = fault.response;
        if (fault.refused) this.#sent = sent;
        return fault;
      }
      this.#opened = Date.now();
      this.#setStatus(this.#spoken ? "streaming" : "thinking");
      await this.#read(response.body.getReader(), response.url || url, signal);
      return new Fault("connection_lost", "The stream ended before the run did.");
    } catch (error) {
      return asFault(error instanceof Fault ? error : (signal.reason ?? error));
    } finally {
      clearTimeout(queued);
      clearTimeout(this.#watchdog);
      connection.abort();
      release?.();
    }
  }

  #request() {
    const { cursor } = this;
    const own = { Accept: "text/event-stream", ...(cursor && { "Last-Event-ID": cursor }) };
    if (this.links) return { url: this.links.events, own };
    // Not named yet, so perhaps never started, perhaps started and the reply lost: the same key
    // makes the server attach this request to the run of the first one.
    if (this.#log.length && !cursor) throw fatal("not_resumable", "There is no cursor to resume at.");
    own["Idempotency-Key"] = this.#key;
    if (this.#start.body !== undefined) own["Content-Type"] = "application/json";
    return { ...this.#start, own };
  }

  async #noteQueue(url, { aborted }) {
    if (aborted || !(await isFull(url)) || this.#opened !== Infinity) return;
    clearTimeout(this.#watchdog);
    this.#queued = true;
    this.#setStatus("waiting", { reason: "connections" });
  }

  async #read(reader, base, signal) {
    const parser = new EventStreamParser();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const frames = parser.feed(value);
      if (parser.retry !== null) this.#options.retry.base = parser.retry / 1000;
      for (const frame of frames) if (!this.#over) this.#take(frame, base);
      this.#heard = Date.now();
      if (this.#over) this.#resetWatchdog();
      else await this.#waitForRoom(signal);
    }
  }

  /** A loop that falls behind holds the reading back. */
  async #waitForRoom(signal) {
    const room = this.#log.room();
    if (!room) return;
    this.#held = true;
    await Promise.race([room, new Promise((resolve) => (signal.onabort = resolve))]);
    this.#held = false;
    this.#heard = Date.now();
  }

  #resetWatchdog() {
    const limit = (this.#over ? FAREWELL : this.#options.silence) * 1000;
    clearTimeout(this.#watchdog);
    this.#heard = Date.now();
    // Setting a timer anew for each chunk would cost more than reading it.
    const check = () => {
      const left = this.#held ? limit : limit - (Date.now() - this.#heard);
      if (left > 0) this.#watchdog = setTimeout(check, left);
      else this.#drop(`Nothing was heard for ${limit / 1000} seconds.`);
    };
    if (limit) this.#watchdog = setTimeout(check, limit);
  }

  #drop(message) {
    this.#connection.abort(new Fault("connection_lost", message, { wait: 0 }));
  }

  // ---- Events.

  #take({ event, data, id }, base) {
    if (id !== undefined && !this.#admit(event, id)) return;
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
      throw new Fault("connection_lost", "The stream ended without the run's own end.", { wait: 0 });
    this.#end(value.reason ?? "unknown", this.#failure);
  }

  #addText(event) {
    this.text += event.text;
    this.#emit(event);
    this.#notifyTexts();
  }

  #notifyTexts() {
    this.#grown.resolve();
    this.#grown = deferred();
  }

  /** Move the cursor. False for an event that was read before; a missing one is never passed over. */
  #admit(event, id) {
    if (this.#prefix !== null && id.startsWith(this.#prefix)) {
      const next = this.#last + 1;
      if (Number(id.slice(this.#prefix.length)) === next) {
        this.#last = next;
        return true;
      }
    }
    const [run, number] = parseCursor(id);
    if (!run) return true;
    const broken = (how) =>
      fatal("stream_broken", `Event ${id} came after ${this.cursor ?? "the beginning"}: ${how}.`);
    if (run !== (this.id ?? run)) throw broken("it is of another run");
    if (number <= this.#last) return false;
    if (number > this.#last + 1 && event !== "gap") throw broken("some are missing");
    this.#moveTo(run, number);
    return true;
  }

  #moveTo(run, number) {
    [this.id, this.#prefix, this.#last] = [run, `${run}:`, number];
  }

  #learn({ run, events, stop }, base) {
    this.id = run;
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
  async #checkEnd() {
    if (!this.links) return this.#end("unknown");
    const url = this.links.events.replace(EVENTS, "");
    const { signal } = this.#connection;
    const response = await send(url, { own: { Accept: "application/json" }, signal }, this.#options);
    if (!response.ok) return httpFault(response, true);
    const record = await response.json().catch(() => ({}));
    const [, last = this.#last] = parseCursor(record.cursor ?? "");
    if (record.status && record.status !== "running" && last <= this.#last) return this.#conclude(record);
    return new Fault("connection_lost", "The answer was 204, but the run has not been read to its end.");
  }

  /** End as the server's record of the run says, with the text that was not read. */
  #conclude({ status, text, usage, end = {} }) {
    if (this.#over) return;
    if (this.#whole && text?.length > this.text.length && text.startsWith(this.text))
      this.#addText({ text: text.slice(this.text.length), type: "text" });
    if (usage) this.usage = usage;
    if (status === "failed") this.#end("error", { code: end.code, message: end.message });
    else this.#end(status === "finished" ? (end.reason ?? "unknown") : (status ?? "stopped"));
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
    this.#connection.abort();
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
    this.#notifyTexts();
    this.#delays.end(true);
    this.#outcome.resolve({ status, reason, text, ...(usage && { usage }), ...(error && { error }) });
  }

  async #stop() {
    const patience = this.#queued ? 0 : STOP_PATIENCE;
    this.#setStatus("stopping");
    this.#delays.end(true); // Between two connections no name can come.
    if (this.#sent && !this.links && !this.#over)
      await within(patience, this.#named.promise, () => false);
    if (this.#ended) return null;
    if (!this.#sent) return this.#leave("stopped") ?? null;
    // The browser may have no other connection left for the request.
    this.#connection.abort();
    const leave = () => this.#leave("stopped");
    const timer = setTimeout(leave, patience * 1000);
    const answer = asked(await repeat(this.#poster(), this.#options.retry, leave));
    clearTimeout(timer);
    if (answer && !answer.error) this.#conclude(answer);
    else if (this.links && !this.#over) this.#goOn();
    else leave();
    return answer;
  }

  /** The server refused to stop the run: read on. */
  #goOn() {
    this.#stopping = null;
    this.#failures = 1;
    this.#follow();
  }

  #poster() {
    const { silence } = this.#options;
    const limit = Math.min(silence || STOP_LIMIT, STOP_LIMIT) * 1000;
    const accept = { Accept: "application/json" };
    const [url, method, own] = this.links
      ? [this.links.stop, "POST", accept]
      : [this.#start.url, "DELETE", { ...accept, "Idempotency-Key": this.#key }];
    let checked = Boolean(this.links);
    return async () => {
      try {
        const signal = AbortSignal.timeout(limit);
        const response = await send(url, { method, own, signal, keepalive: true }, this.#options);
        if (response.ok) return await response.json().catch(() => ({}));
        if (this.links || response.status !== 404) return await httpFault(response, true);
        if (checked) return null;
        checked = true;
        return new Fault("not_started", "No run has started under this key.", { wait: RECHECK });
      } catch (error) {
        return asFault(error);
      }
    };
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
    const { silence } = this.#options;
    if (online) this.#failures = 0;
    // Half the limit, since timers stand still while a page sleeps. And a network that was away
    // seldom brings its connections back, however recently they spoke.
    const stale = silence && Date.now() - this.#heard > silence * 500;
    if (online || stale) this.#drop("The network was away.");
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

/** Options with defaults in place of what is undefined. */
function settings(options) {
  const given = defined(options);
  const { silence = SILENCE } = given;
  const retry = { ...RETRY, ...defined(given.retry) };
  retry.max = Math.min(retry.max, LONGEST);
  return { ...given, retry, silence: silence > LONGEST ? null : silence };
}

function defined(options) {
  return Object.fromEntries(Object.entries(options ?? {}).filter(([, value]) => value !== undefined));
}

/** `[run, number]`; nothing where it is none, unless it `must` be. */
function parseCursor(id, must = false) {
  const [, run, digits] = CURSOR.exec(id) ?? [];
  if (run) return [run, Number(digits)];
  if (must) throw new TypeError(`The cursor "${id}" must be "run:number", as in run.cursor.`);
  return [];
}

function parseJson(data) {
  try {
    return JSON.parse(data);
  } catch {
    throw fatal("stream_broken", `An event holds no JSON: ${data.slice(0, 100)}`);
  }
}

/** A stop request's answer. With a detach time of 0, closing the connection has ended the run just before it. */
function asked(answer) {
  if (answer?.end?.by !== "detach") return answer;
  return { ...answer, stopped: true, end: { ...answer.end, by: "client" } };
}
