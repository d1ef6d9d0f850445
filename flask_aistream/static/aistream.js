/**
 * The client of flask_aistream's native protocol.
 *
 * A run is an append-only log of events on the server; a connection is a cursor over it. So a lost
 * connection is no event of the run: it is opened again at the cursor, and only the log says how the
 * run ended. `stream` starts a run, `attach` reads any run, `resume` finds one again after a reload.
 */

const CURSOR = /^([\w-]{1,64}):(\d{1,15})$/;
const BEGINNING = -1;

// Seconds. The server sends a heartbeat every 15: two may get lost before a connection counts as dead.
const SILENCE = 45;
const RETRY = { attempts: 10, base: 1, max: 30 };
const LONGEST_WAIT = 3600; // A Retry-After of years would overflow setTimeout and fire at once.
const START_IS_FRESH = 60; // A tab restored days later must not send its question again.
const FAREWELL = 1; // After the end the body is read out, so that the browser can keep the connection.

const STATUS = { stopped: "stopped", interrupted: "interrupted", error: "failed" };
const TRY_AGAIN = new Set([408, 425, 429]);
const WAKES = ["online", "pageshow", "visibilitychange"];

/** Start a run. `input` is sent as JSON by POST, or in the query where the method is GET. */
export function stream(url, input = null, options = {}) {
  const fields = typeof input === "string" ? { prompt: input } : input;
  const method = (options.method ?? (fields === null ? "GET" : "POST")).toUpperCase();
  const target = absolute(url);
  if (method === "GET") addToQuery(target, fields ?? {});
  const body = method === "GET" ? undefined : JSON.stringify(fields ?? {});
  const key = options.key ?? randomKey();
  return new Run({ key, start: { url: target.href, method, body } }, options);
}

/** Read the run behind an `events` link, from its beginning or from `options.cursor`. */
export function attach(eventsUrl, options = {}) {
  const events = absolute(eventsUrl).href;
  const stop = events.replace(/\/events(?=$|\?)/, "/stop");
  return new Run({ key: options.key ?? randomKey(), links: { events, stop } }, options);
}

/** The run that was started with `persist: name` and had not ended, read again from its beginning. */
export function resume(name, options = {}) {
  const entry = shelf.read(name);
  if (!entry) return null;
  return new Run(entry, { ...options, persist: name, cursor: undefined });
}

/** One run: async-iterable over its events, an EventTarget of "status", "event" and each event type. */
export class Run extends EventTarget {
  #options;
  #retry;
  #silence;
  #key;
  #start;
  #links;
  #run = null;
  #last = BEGINNING;
  #log = [];
  #text = "";
  #usage;
  #error;
  #failure;
  #status = "connecting";
  #over = false;
  #readers = [];
  #sleepers = new Set();
  #life = new AbortController();
  #connection = new AbortController();
  #watchdog;
  #opened;
  #lastByte = 0;
  #base;
  #failures = 0;
  #stopping;
  #known = deferred();
  #done = deferred();

  constructor({ key, start, links, at = Date.now() }, options) {
    super();
    this.#options = options;
    this.#retry = { ...RETRY, ...options.retry };
    this.#base = this.#retry.base;
    this.#silence = options.silence === undefined ? SILENCE : options.silence;
    [this.#key, this.#start, this.#links] = [key, start, links];
    if (options.cursor) this.#startFrom(options.cursor);
    if (links) this.#known.resolve(true);
    if (options.signal?.aborted) return void this.detach();
    this.#listen(options.signal, ["abort"], () => this.detach());
    this.#listen(globalThis, WAKES.slice(0, 2), (event) => this.#awake(event));
    this.#listen(globalThis.document, WAKES.slice(2), (event) => this.#awake(event));
    this.#save({ at, start, links });
    queueMicrotask(() => this.#follow());
  }

  /** Id of the run; null until the server has named it. */
  get id() {
    return this.#run;
  }
  /** All text so far. */
  get text() {
    return this.#text;
  }
  get status() {
    return this.#status;
  }
  get usage() {
    return this.#usage;
  }
  /** `{code, message, status?}` once the status is "failed". */
  get error() {
    return this.#error;
  }
  /** Where this reader stands, for `attach(url, {cursor})`; null at the beginning. */
  get cursor() {
    return this.#last === BEGINNING ? null : `${this.#run}:${this.#last}`;
  }
  /** `{events, stop}` as absolute URLs; null until the server has told them. */
  get links() {
    return this.#links ? { ...this.#links } : null;
  }
  /** Resolves with the outcome, whatever it is; never rejects. */
  get done() {
    return this.#done.promise;
  }

  /** Call `listener` with each detail of `type`; returns a function that ends that. */
  on(type, listener) {
    const handler = (event) => listener(event.detail);
    this.addEventListener(type, handler);
    return () => this.removeEventListener(type, handler);
  }

  /** Every event from the first one, then those to come. Leaving the loop leaves the run alone. */
  async *[Symbol.asyncIterator]() {
    for (let next = 0; ; ) {
      while (next < this.#log.length) yield this.#log[next++];
      if (this.#over) return;
      await new Promise((resolve) => this.#readers.push(resolve));
    }
  }

  /** End the run on the server. Resolves with its answer, or null where there was nothing to stop. */
  stop() {
    if (this.#over && this.#status !== "detached") return Promise.resolve(null);
    this.#stopping ??= this.#known.promise.then((known) => (known ? this.#sendStop() : null));
    this.#wake();
    return this.#stopping;
  }

  /** Stop reading and let the run go on. */
  detach() {
    if (!this.#over) this.#close("detached", "detached");
  }

  // ---- Connections, one after the other, until the run is over.

  async #follow() {
    while (!this.#over) {
      const before = this.#last;
      const fault = await this.#connect();
      if (this.#over) return;
      if (fault.final) return this.#fail(fault);
      // A connection that lived long did its work, though a model that thinks gave it nothing to say.
      const lived = (this.#lastByte - this.#opened) / 1000;
      if (this.#last > before || lived > this.#retry.max) this.#failures = 0;
      if (!offline()) this.#failures += 1; // Failing without a network says nothing of the server.
      if (this.#failures > this.#retry.attempts) return this.#fail(fault);
      const wait = fault.wait ?? this.#backoff(this.#failures);
      this.#setStatus("reconnecting", { attempt: this.#failures, wait, error: fault.told });
      await this.#pause(wait, fault.asked);
    }
  }

  /** Open one connection and read it to its end. Returns the fault that ended it; never throws. */
  async #connect() {
    const { signal } = (this.#connection = new AbortController());
    try {
      this.#opened = Infinity;
      this.#heard();
      const resuming = Boolean(this.#links || this.cursor);
      const { url, ...request } = await this.#request();
      const response = await this.#fetch(url, { ...request, signal });
      if (response.status === 204 && resuming) return this.#end({ reason: "unknown" });
      if (!isEventStream(response)) throw await httpFault(response, resuming);
      this.#opened = Date.now();
      this.#setStatus("streaming");
      await this.#read(response.body.getReader(), response.url || url);
      return new Fault("connection_lost", "The stream ended before the run did.");
    } catch (error) {
      return asFault(error instanceof Fault ? error : (signal.reason ?? error));
    } finally {
      clearTimeout(this.#watchdog);
      this.#connection.abort();
    }
  }

  async #request() {
    const cursor = this.cursor;
    const resumes = cursor ? { "Last-Event-ID": cursor } : {};
    if (this.#links) return { url: this.#links.events, headers: await this.#headers(resumes) };
    // Not named yet, so perhaps never started, perhaps started and the reply lost: the same key
    // makes the server attach this request to the run of the first one.
    if (this.#log.length && !cursor) throw new Fault("not_resumable", "Lost, with no cursor to resume from.", { final: true });
    const json = this.#start.body === undefined ? {} : { "Content-Type": "application/json" };
    const headers = await this.#headers({ "Idempotency-Key": this.#key, ...json, ...resumes });
    return { ...this.#start, headers };
  }

  async #headers(own) {
    const given = this.#options.headers;
    const headers = new Headers(typeof given === "function" ? await given() : given);
    for (const [name, value] of Object.entries({ Accept: "text/event-stream", ...own })) headers.set(name, value);
    return headers;
  }

  #fetch(url, request) {
    const fetch = this.#options.fetch ?? globalThis.fetch;
    const credentials = this.#options.credentials ?? "same-origin";
    return fetch(url, { cache: "no-store", credentials, ...request });
  }

  async #read(reader, base) {
    const parser = new EventStreamParser();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const frames = parser.feed(value);
      if (parser.retry !== null) this.#base = parser.retry / 1000;
      for (const frame of frames) if (!this.#over) this.#take(frame, base);
      this.#heard();
    }
  }

  /** A byte came: the connection lives. */
  #heard() {
    this.#lastByte = Date.now();
    clearTimeout(this.#watchdog);
    const limit = this.#over ? FAREWELL : this.#silence;
    if (limit) this.#watchdog = setTimeout(() => this.#drop(`Nothing was heard for ${limit} seconds.`), limit * 1000);
  }

  #drop(message) {
    this.#connection.abort(new Fault("connection_lost", message, { wait: 0 }));
  }

  // ---- Events.

  #take({ event, data, id }, base) {
    if (id !== undefined && !this.#admit(event, id)) return;
    const value = parseJson(data);
    if (event === "failure") this.#failure = value; // Told with the end it announces.
    else if (event !== "message") this.#named(event, value, base);
    else if (value?.action === "terminate") this.#end(value);
    else if (typeof value?.text === "string") this.#emit({ type: "text", text: value.text });
    else this.#emit({ ...value, type: "message" });
  }

  /** Move the cursor. False for an event that was read before; a missing one is never passed over. */
  #admit(event, id) {
    const [, run, digits] = CURSOR.exec(id) ?? [];
    if (!run) return true;
    const number = Number(digits);
    if (run !== (this.#run ?? run)) throw broken(`Event ${id} belongs to another run than ${this.#run}.`);
    if (number <= this.#last) return false;
    if (number > this.#last + 1 && event !== "gap") throw broken(`Event ${id} came after number ${this.#last}: some are missing.`);
    [this.#run, this.#last] = [run, number];
    return true;
  }

  #named(type, value, base) {
    if (type === "run") this.#learn(value, base);
    if (type === "usage") this.#usage = { ...this.#usage, ...value };
    this.#emit({ ...value, type });
  }

  #learn({ run, events, stop }, base) {
    this.#run = run;
    if (!events) return;
    this.#links = { events: new URL(events, base).href, stop: new URL(stop, base).href };
    this.#save({ links: this.#links });
    this.#known.resolve(true);
  }

  #emit(event) {
    if (event.type === "text") this.#text += event.text;
    this.#log.push(event);
    this.#tell("event", event);
    this.#tell(event.type, event);
    for (const wake of this.#readers.splice(0)) wake();
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  // ---- Ends.

  #end({ reason }) {
    if (reason === "error") this.#error = this.#failure ?? { code: "error", message: "The run failed." };
    this.#forget();
    this.#close(STATUS[reason] ?? "finished", reason);
  }

  #fail(fault) {
    this.#error = fault.told;
    if (fault.final) this.#forget(); // Else the run may well go on: `resume` can still find it.
    this.#close("failed", "error");
  }

  #close(status, reason) {
    this.#over = true;
    this.#life.abort();
    this.#known.resolve(false);
    if (status === "detached") this.#connection.abort();
    this.#setStatus(status);
    const error = this.#error && { error: this.#error };
    if (status !== "detached") this.#emit({ type: "end", reason, ...error });
    for (const wake of this.#readers.splice(0)) wake();
    this.#wake(true);
    const usage = this.#usage && { usage: this.#usage };
    this.#done.resolve({ status, reason, text: this.#text, ...usage, ...error });
  }

  #setStatus(status, more) {
    this.#status = status;
    this.#tell("status", { status, ...more });
  }

  async #sendStop() {
    for (let failures = 1; ; failures += 1) {
      const fault = await this.#postStop();
      if (!(fault instanceof Fault)) return fault;
      const gone = this.#over && this.#status !== "detached";
      if (fault.final || gone || failures > this.#retry.attempts) return { error: fault.told };
      await this.#pause(fault.wait ?? this.#backoff(failures), fault.asked);
    }
  }

  async #postStop() {
    try {
      const signal = this.#silence ? AbortSignal.timeout(this.#silence * 1000) : undefined;
      const headers = await this.#headers({ Accept: "application/json" });
      const request = { method: "POST", headers, signal, keepalive: true };
      const response = await this.#fetch(this.#links.stop, request);
      return response.ok ? await response.json().catch(() => ({})) : await httpFault(response, true);
    } catch (error) {
      return asFault(error);
    }
  }

  // ---- Waiting.

  /** Seconds before the next attempt: doubling, jittered so that clients do not return in step. */
  #backoff(failures) {
    const base = Math.max(this.#base, 0.01);
    return Math.min(this.#retry.max, base * 2 ** (Math.max(failures, 1) - 1)) * (0.5 + Math.random() / 2);
  }

  /** Sleep, and then until there is a network. A page that wakes up shortens it, unless `firm`. */
  async #pause(seconds, firm) {
    await this.#sleep(seconds, firm);
    while (offline() && !this.#over) await this.#sleep();
  }

  #sleep(seconds, firm = false) {
    return new Promise((resolve) => {
      const wake = (force) => {
        if (firm && !force) return;
        clearTimeout(timer);
        this.#sleepers.delete(wake);
        resolve();
      };
      const timer = seconds === undefined ? undefined : setTimeout(wake, seconds * 1000, true);
      this.#sleepers.add(wake);
    });
  }

  #wake(force = false) {
    for (const wake of [...this.#sleepers]) wake(force);
  }

  /** The page came to life: what was silent for long is dead, and nobody wants to wait any more. */
  #awake({ type }) {
    if (globalThis.document?.visibilityState === "hidden") return;
    const silent = (Date.now() - this.#lastByte) / 1000;
    if (type === "online") this.#failures = 0;
    // Half the limit, for a page that slept could not count. A new network never keeps old connections.
    if (type === "online" || (this.#silence && silent > this.#silence / 2)) this.#drop("The network was away.");
    this.#wake();
  }

  #listen(target, types, listener) {
    for (const type of types) target?.addEventListener?.(type, listener, { signal: this.#life.signal });
  }

  // ---- After a reload.

  #startFrom(cursor) {
    const [, run, digits] = CURSOR.exec(cursor) ?? [];
    if (!run) throw new TypeError(`The cursor "${cursor}" is not "run:number", as run.cursor tells it.`);
    [this.#run, this.#last] = [run, Number(digits)];
  }

  #save(what) {
    if (this.#options.persist) shelf.write(this.#options.persist, { key: this.#key, ...what });
  }

  #forget() {
    if (this.#options.persist) shelf.remove(this.#options.persist, this.#key);
  }
}

/**
 * Bytes of an event stream in, frames out, however the bytes are cut. A block that the end of the
 * stream cuts off is never given out.
 *
 * Source: WHATWG HTML, "Parsing an event stream" and "Interpreting an event stream".
 */
export class EventStreamParser {
  lastEventId = "";
  retry = null;
  #utf8 = new TextDecoder(); // Drops one leading BOM.
  #afterCr = false;
  #rest = "";
  #block = {};

  /** The frames these bytes complete: `{event, data, id?}`, `id` only where the block had its own. */
  feed(bytes) {
    let text = this.#utf8.decode(bytes, { stream: true });
    if (text === "") return [];
    // A CR that ended the last piece was a line end; the LF after it belongs to it.
    if (this.#afterCr && text[0] === "\n") text = text.slice(1);
    this.#afterCr = text.endsWith("\r");
    const lines = text.split(/\r\n|\r|\n/);
    lines[0] = this.#rest + lines[0];
    this.#rest = lines.pop();
    return lines.map((line) => (line ? this.#field(line) : this.#dispatch())).filter(Boolean);
  }

  #field(line) {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (name === "data") (this.#block.data ??= []).push(value);
    else if (name === "event") this.#block.event = value;
    else if (name === "id" && !value.includes("\0")) this.#block.id = value;
    else if (name === "retry" && /^\d+$/.test(value)) this.retry = Number(value);
  }

  #dispatch() {
    const { event, data, id } = this.#block;
    this.#block = {};
    if (id !== undefined) this.lastEventId = id;
    return data && { event: event || "message", data: data.join("\n"), ...(id !== undefined && { id }) };
  }
}

/** What ended a connection. `final`: trying again cannot help; `wait`: seconds, if not the back-off. */
class Fault extends Error {
  constructor(code, message, { final = false, status, wait, asked = false } = {}) {
    super(message);
    Object.assign(this, { final, wait, asked });
    this.told = { code, message, ...(status && { status }) };
  }
}

const asFault = (error) => (error instanceof Fault ? error : new Fault("connection_lost", String(error?.message ?? error)));
const broken = (message) => new Fault("stream_broken", message, { final: true });

async function httpFault(response, resuming) {
  const { status } = response;
  const kind = response.headers.get("Content-Type") ?? "no content type";
  const error = (await response.json().catch(() => null))?.error;
  const wait = retryAfter(response);
  const message = error?.message ?? `The server answered ${status} (${kind}) instead of an event stream.`;
  const final = isFinal(status, resuming, Boolean(error?.code) && wait === undefined);
  return new Fault(error?.code ?? `http_${status}`, message, { final, status, wait, asked: wait !== undefined });
}

/** `explained`: the application itself said what is wrong, and not that it will pass. */
function isFinal(status, resuming, explained) {
  if (TRY_AGAIN.has(status)) return false;
  // A start answered like that failed before its first event, and its key leads to that run again.
  if (status >= 500) return explained && !resuming;
  return status >= 400 || !resuming;
}

function retryAfter(response) {
  const value = response.headers.get("Retry-After");
  if (!value) return undefined;
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isNaN(seconds) ? undefined : Math.min(Math.max(seconds, 0), LONGEST_WAIT);
}

function isEventStream(response) {
  return response.status === 200 && /^text\/event-stream\b/i.test(response.headers.get("Content-Type") ?? "");
}

function parseJson(data) {
  try {
    return JSON.parse(data);
  } catch {
    throw broken(`An event holds no JSON: ${data.slice(0, 100)}`);
  }
}

const absolute = (url) => new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
const offline = () => globalThis.navigator?.onLine === false;

function addToQuery(url, fields) {
  for (const [name, value] of Object.entries(fields)) {
    if (value === null || value === undefined) continue;
    url.searchParams.set(name, typeof value === "object" ? JSON.stringify(value) : String(value));
  }
}

// crypto.randomUUID exists in secure contexts only; a page on a LAN address is none.
function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function deferred() {
  const it = {};
  it.promise = new Promise((resolve) => (it.resolve = resolve));
  return it;
}

/** sessionStorage, which may be forbidden, full, or hold what somebody else wrote. */
const shelf = {
  read(name) {
    try {
      const entry = JSON.parse(sessionStorage.getItem(`aistream:${name}`));
      const fresh = entry?.links || Date.now() - entry?.at < START_IS_FRESH * 1000;
      return fresh ? entry : null;
    } catch {
      return null;
    }
  },
  write(name, entry) {
    try {
      sessionStorage.setItem(`aistream:${name}`, JSON.stringify(entry));
    } catch {
      // The run works without; it just cannot be found again after a reload.
    }
  },
  remove(name, key) {
    if (this.read(name)?.key === key) sessionStorage.removeItem(`aistream:${name}`);
  },
};

/** `<ai-stream src prompt method persist>`: a run as an element. It holds text, never markup. */
export class AIStreamElement extends (globalThis.HTMLElement ?? Object) {
  /** More options for `stream`, such as `headers`. */
  options = {};
  #run = null;
  #begun = false;

  /** The run shown, or null. */
  get run() {
    return this.#run;
  }

  connectedCallback() {
    if (!this.hasAttribute("aria-live")) this.setAttribute("aria-live", "polite");
    if (!this.#run || this.#run.status === "detached") queueMicrotask(() => this.#begin());
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
    const name = this.getAttribute("persist");
    const found = name && resume(name, this.#settings);
    if (found) this.#show(found);
    else if (!this.#begun && this.hasAttribute("prompt")) this.ask(this.getAttribute("prompt"));
    this.#begun = true;
  }

  #show(run) {
    this.#run = run;
    this.replaceChildren();
    this.#reflect(run);
    const mine = (type, act) => run.on(type, (detail) => run === this.#run && act(detail));
    mine("text", (event) => (this.append(event.text), this.#tell("text", event)));
    mine("status", (detail) => (this.#reflect(run), this.#tell("status", detail)));
    run.done.then((outcome) => run === this.#run && this.#tell("end", outcome));
    return run;
  }

  #reflect({ status }) {
    const busy = ["connecting", "streaming", "reconnecting"].includes(status);
    this.setAttribute("status", status);
    this.setAttribute("aria-busy", String(busy)); // Screen readers wait for the whole answer.
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail, bubbles: true }));
  }
}

if (globalThis.customElements && !customElements.get("ai-stream")) {
  customElements.define("ai-stream", AIStreamElement);
}
