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
const LONGEST = 3600; // Of any wait: Infinity and years would overflow setTimeout and fire at once.
const START_IS_FRESH = 60; // A tab restored days later must not send its question again.
const FAREWELL = 1; // After the end the body is read out, so that the browser can keep the connection.

const STATUS = { stopped: "stopped", interrupted: "interrupted", error: "failed" };
const TRY_AGAIN = new Set([408, 425, 429]);
const EVENT_STREAM = "text/event-stream";

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

/**
 * One run: async-iterable over its events, and an EventTarget of "status", "event" and each event's
 * type. Its properties are to be read only.
 */
export class Run extends EventTarget {
  /** Id of the run and `{events, stop}` as absolute URLs; null until the server has told them. */
  id = null;
  links = null;
  /** All text so far, tokens used so far, `{code, message, status?}` once the status is "failed". */
  text = "";
  usage;
  error;
  status = "connecting";
  #outcome = deferred();
  /** Resolves with the outcome, whatever it is; never rejects. */
  done = this.#outcome.promise;

  #options;
  #key;
  #start;
  #last = BEGINNING;
  #log = [];
  #readers = [];
  #failure;
  #over = false; // Nothing more will be read,
  #ended = false; // and if that is because the log ended, there is nothing to stop.
  #life = new AbortController();
  #connection = new AbortController();
  #heard = { opened: Infinity, last: 0, watchdog: undefined };
  #failures = 0;
  #naps = new Naps();
  #stopping;
  #named = deferred();

  constructor({ key, start, links, at = Date.now() }, options) {
    super();
    const { silence = SILENCE } = options;
    const retry = { ...RETRY, ...options.retry };
    retry.max = Math.min(retry.max, LONGEST);
    this.#options = { ...options, retry, silence: silence > LONGEST ? null : silence };
    [this.#key, this.#start] = [key, start];
    if (options.cursor) [this.id, this.#last] = parseCursor(options.cursor, true);
    if (links) this.#know(links);
    if (options.signal?.aborted) return void this.detach();
    this.#listen(options.signal, "abort", () => this.detach());
    this.#listen(globalThis, "online", () => this.#awake(true));
    this.#listen(globalThis, "pageshow", () => this.#awake());
    this.#listen(globalThis.document, "visibilitychange", () => hidden() || this.#awake());
    this.#save({ at, start, links });
    queueMicrotask(() => this.#follow());
  }

  /** Where this reader stands, for `attach(url, {cursor})`; null at the beginning. */
  get cursor() {
    return this.#last === BEGINNING ? null : `${this.id}:${this.#last}`;
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
    if (this.#ended) return Promise.resolve(null);
    this.#stopping ??= this.#named.promise.then((named) => (named ? this.#sendStop() : null));
    this.#naps.end();
    return this.#stopping;
  }

  /** Stop reading and let the run go on. */
  detach() {
    if (this.#over) return;
    this.#connection.abort();
    this.#close("detached", "detached");
  }

  // ---- Connections, one after the other, until the run is over.

  async #follow() {
    while (!this.#over) {
      const before = this.#last;
      const fault = await this.#connect();
      if (this.#over) return;
      const { attempts, max } = this.#options.retry;
      // A connection that lived long did its work, even if a model that thinks said nothing on it.
      const lived = (this.#heard.last - this.#heard.opened) / 1000;
      if (this.#last > before || lived > max) this.#failures = 0;
      if (!offline()) this.#failures += 1; // Failing without a network says nothing of the server.
      if (fault.final || this.#failures > attempts) return this.#fail(fault);
      const wait = fault.wait ?? this.#backoff(this.#failures);
      this.#turn("reconnecting", { attempt: this.#failures, wait, error: fault.told });
      await this.#pause(wait, fault.firm);
    }
  }

  /** Open one connection and read it to its end. Returns what went wrong, if the run is not over. */
  async #connect() {
    const connection = (this.#connection = new AbortController());
    const resuming = Boolean(this.links || this.cursor);
    try {
      this.#heard.opened = Infinity;
      this.#hear();
      const { url, ...request } = await this.#request();
      const response = await this.#fetch(url, { ...request, signal: connection.signal });
      if (this.#over) return null;
      if (response.status === 204 && resuming) return this.#end({});
      if (!isEventStream(response)) return await httpFault(response, resuming);
      this.#heard.opened = Date.now();
      this.#turn("streaming");
      await this.#read(response.body.getReader(), response.url || url);
      return new Fault("connection_lost", "The stream ended before the run did.");
    } catch (error) {
      return asFault(error instanceof Fault ? error : (connection.signal.reason ?? error));
    } finally {
      clearTimeout(this.#heard.watchdog);
      connection.abort();
    }
  }

  async #request() {
    const { cursor } = this;
    const own = { Accept: "text/event-stream", ...(cursor && { "Last-Event-ID": cursor }) };
    if (this.links) return { url: this.links.events, headers: await this.#headers(own) };
    // Not named yet, so perhaps never started, perhaps started and the reply lost: the same key
    // makes the server attach this request to the run of the first one.
    if (this.#log.length && !cursor) throw fatal("not_resumable", "There is no cursor to resume at.");
    own["Idempotency-Key"] = this.#key;
    if (this.#start.body !== undefined) own["Content-Type"] = "application/json";
    return { ...this.#start, headers: await this.#headers(own) };
  }

  async #headers(own) {
    const given = this.#options.headers;
    const headers = new Headers(typeof given === "function" ? await given() : given);
    for (const name of Object.keys(own)) headers.set(name, own[name]);
    return headers;
  }

  #fetch(url, request) {
    const { fetch = globalThis.fetch, credentials = "same-origin" } = this.#options;
    return fetch(url, { cache: "no-store", credentials, ...request });
  }

  async #read(reader, base) {
    const parser = new EventStreamParser();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const frames = parser.feed(value);
      if (parser.retry !== null) this.#options.retry.base = parser.retry / 1000;
      for (const frame of frames) if (!this.#over) this.#take(frame, base);
      this.#hear();
    }
  }

  /** A byte came: the connection lives, for as long again. */
  #hear() {
    const limit = this.#over ? FAREWELL : this.#options.silence;
    clearTimeout(this.#heard.watchdog);
    this.#heard.last = Date.now();
    const expired = () => this.#drop(`Nothing was heard for ${limit} seconds.`);
    if (limit) this.#heard.watchdog = setTimeout(expired, limit * 1000);
  }

  #drop(message) {
    this.#connection.abort(new Fault("connection_lost", message, { wait: 0 }));
  }

  // ---- Events.

  #take({ event, data, id }, base) {
    if (id !== undefined && !this.#admit(event, id)) return;
    const value = parseJson(data);
    if (event === "run") this.#learn(value, base);
    if (event === "usage") this.usage = { ...this.usage, ...value };
    if (event === "failure") return void (this.#failure = value); // Told with the end it announces.
    if (event !== "message") return this.#emit({ ...value, type: event });
    if (value?.action === "terminate") return this.#end(value);
    const isText = typeof value?.text === "string";
    if (isText) this.text += value.text;
    this.#emit({ ...value, type: isText ? "text" : "message" });
  }

  /** Move the cursor. False for an event that was read before; a missing one is never passed over. */
  #admit(event, id) {
    const [run, number] = parseCursor(id);
    if (!run) return true;
    const broken = (how) =>
      fatal("stream_broken", `Event ${id} came after ${this.cursor ?? "the beginning"}: ${how}.`);
    if (run !== (this.id ?? run)) throw broken("it is of another run");
    if (number <= this.#last) return false;
    if (number > this.#last + 1 && event !== "gap") throw broken("some are missing");
    [this.id, this.#last] = [run, number];
    return true;
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
    this.#log.push(event);
    this.#tell("event", event);
    this.#tell(event.type, event);
    this.#wakeReaders();
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #wakeReaders() {
    for (const wake of this.#readers.splice(0)) wake();
  }

  #turn(status, more) {
    this.status = status;
    this.#tell("status", { status, ...more });
  }

  // ---- Ends.

  #end({ reason = "unknown" }) {
    this.#ended = true;
    const failure = this.#failure ?? { code: "error", message: "The run failed." };
    if (reason === "error") this.error = failure;
    this.#forget();
    this.#close(STATUS[reason] ?? "finished", reason);
  }

  #fail(fault) {
    this.error = fault.told;
    if (fault.final) this.#forget(); // Else the run may well go on: `resume` can still find it.
    this.#close("failed", "error");
  }

  #close(status, reason) {
    this.#over = true;
    this.#life.abort();
    this.#named.resolve(false);
    this.#turn(status);
    const { text, usage, error } = this;
    if (status !== "detached") this.#emit({ type: "end", reason, ...(error && { error }) });
    this.#wakeReaders();
    this.#naps.end(true);
    this.#outcome.resolve({ status, reason, text, ...(usage && { usage }), ...(error && { error }) });
  }

  async #sendStop() {
    for (let failures = 1; ; failures += 1) {
      const answer = await this.#postStop();
      if (!(answer instanceof Fault)) return answer;
      const enough = answer.final || this.#ended || failures > this.#options.retry.attempts;
      if (enough) return { error: answer.told };
      await this.#pause(answer.wait ?? this.#backoff(failures), answer.firm);
    }
  }

  async #postStop() {
    try {
      const { silence } = this.#options;
      const signal = silence ? AbortSignal.timeout(silence * 1000) : undefined;
      const headers = await this.#headers({ Accept: "application/json" });
      const request = { method: "POST", headers, signal, keepalive: true };
      const response = await this.#fetch(this.links.stop, request);
      return response.ok ? response.json().catch(() => ({})) : httpFault(response, true);
    } catch (error) {
      return asFault(error);
    }
  }

  // ---- Waiting.

  /** Seconds before the next attempt: doubling, jittered so that clients do not return in step. */
  #backoff(failures) {
    const { base, max } = this.#options.retry;
    const full = Math.min(max, Math.max(base, 0.01) * 2 ** Math.max(failures - 1, 0));
    return full * (0.5 + Math.random() / 2);
  }

  /**
   * Wait, and longer where there is no network; not for ever, since a browser may be wrong about
   * that. A page that wakes up waits no longer, unless `firm`.
   */
  async #pause(seconds, firm) {
    await this.#naps.take(seconds, firm);
    if (offline() && !this.#over) await this.#naps.take(this.#options.retry.max);
  }

  /** The page came to life: what was silent for long is dead, and nobody wants to wait any more. */
  #awake(online = false) {
    const { silence } = this.#options;
    if (online) this.#failures = 0;
    // Half the limit, since timers stand still while a page sleeps. And a network that was away
    // seldom brings its connections back, however recently they spoke.
    const stale = silence && Date.now() - this.#heard.last > silence * 500;
    if (online || stale) this.#drop("The network was away.");
    this.#naps.end();
  }

  #listen(target, type, listener) {
    target?.addEventListener?.(type, listener, { signal: this.#life.signal });
  }

  // ---- After a reload.

  #save(what) {
    const { persist } = this.#options;
    if (persist) shelf.write(persist, { key: this.#key, ...what });
  }

  #forget() {
    const { persist } = this.#options;
    if (persist) shelf.remove(persist, this.#key);
  }
}

/** Waits that can be cut short. */
class Naps {
  #all = new Set();

  take(seconds, firm = false) {
    return new Promise((resolve) => {
      const nap = { firm, wake };
      const timer = setTimeout(wake, seconds * 1000);
      const all = this.#all.add(nap);
      function wake() {
        clearTimeout(timer);
        all.delete(nap);
        resolve();
      }
    });
  }

  /** End all of them; the firm ones only by force. */
  end(force = false) {
    for (const nap of [...this.#all]) if (force || !nap.firm) nap.wake();
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
    if (data) return { event: event || "message", data: data.join("\n"), id };
  }
}

/**
 * What ended a connection. `final`: trying again cannot help; `wait`: seconds, if not the back-off;
 * `firm`: the server asked for that wait; `told`: what the page gets to see.
 */
class Fault extends Error {
  constructor(code, message, { final = false, wait, firm = false, status } = {}) {
    super(message);
    Object.assign(this, { final, wait, firm, told: { code, message, ...(status && { status }) } });
  }
}

const lost = (error) => new Fault("connection_lost", String(error?.message ?? error));
const asFault = (error) => (error instanceof Fault ? error : lost(error));
const fatal = (code, message) => new Fault(code, message, { final: true });

async function httpFault(response, resuming) {
  const { status } = response;
  const error = (await response.json().catch(() => null))?.error;
  const kind = response.headers.get("Content-Type") ?? "";
  const answer = `${status} (${kind || "no content type"})`;
  const told = error?.message ?? `The server answered ${answer}, not an event stream.`;
  const wait = retryAfter(response);
  const firm = wait !== undefined;
  const explained = Boolean(error?.code) && !firm;
  const final = isFinal(status, { kind, resuming, explained });
  return new Fault(error?.code ?? `http_${status}`, told, { final, wait, firm, status });
}

/** `explained`: the application itself said what is wrong, and not that it will pass. */
function isFinal(status, { kind, resuming, explained }) {
  if (TRY_AGAIN.has(status)) return false;
  // A start answered like that failed before its first event, and its key leads to that run again.
  if (status >= 500) return explained && !resuming;
  if (status >= 400) return true;
  // Over plain HTTP, browsers take what came of a head that was cut off for all of it.
  const cutOff = status !== 204 && EVENT_STREAM.startsWith(kind);
  return !resuming && !cutOff;
}

function retryAfter(response) {
  const value = response.headers.get("Retry-After");
  if (!value) return undefined;
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isNaN(seconds) ? undefined : Math.min(Math.max(seconds, 0), LONGEST);
}

function isEventStream({ status, headers }) {
  return status === 200 && /^text\/event-stream\b/i.test(headers.get("Content-Type") ?? "");
}

/** `[run, number]`; nothing where it is none, unless it `must` be. */
function parseCursor(id, must = false) {
  const [, run, digits] = CURSOR.exec(id) ?? [];
  if (run) return [run, Number(digits)];
  if (must) throw new TypeError(`The cursor "${id}" is not "run:number", as run.cursor tells it.`);
  return [];
}

function parseJson(data) {
  try {
    return JSON.parse(data);
  } catch {
    throw fatal("stream_broken", `An event holds no JSON: ${data.slice(0, 100)}`);
  }
}

const offline = () => globalThis.navigator?.onLine === false;
const hidden = () => globalThis.document?.visibilityState === "hidden";

function absolute(url) {
  // What was forgotten would be asked for as "/null".
  if (!url) throw new TypeError(`The URL is "${url}" but must be a provider's, such as "/ai/chat".`);
  return new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
}

function addToQuery(url, fields) {
  for (const [name, value] of Object.entries(fields)) {
    if (value === null || value === undefined) continue;
    url.searchParams.set(name, typeof value === "object" ? JSON.stringify(value) : String(value));
  }
}

// crypto.randomUUID exists in secure contexts only; a page on a LAN address is none.
function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
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
      const fresh = entry?.start && Date.now() - entry.at < START_IS_FRESH * 1000;
      return fresh || entry?.links ? entry : null;
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
  /** More options for `stream`, such as `headers`; may be there before the module is. */
  options = this.options ?? {};
  #run = null;
  #begun = false;

  /** The run shown, or null. */
  get run() {
    return this.#run;
  }

  connectedCallback() {
    if (!this.hasAttribute("aria-live")) this.setAttribute("aria-live", "polite");
    queueMicrotask(() => this.#begin());
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
    // Removed again, only moved, or asked by whoever put it there.
    if (!this.isConnected || (this.#run && this.#run.status !== "detached")) return;
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
