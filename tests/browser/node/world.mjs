// A page without a browser: its network, its wake-ups, and a server of runs. Requests meet the faults of a test.
import { setMaxListeners } from "node:events";

const page = new EventTarget();
globalThis.addEventListener = page.addEventListener.bind(page);
globalThis.document = Object.assign(new EventTarget(), { visibilityState: "visible" });
setMaxListeners(0, page, document);
Object.defineProperty(globalThis, "navigator", { value: { onLine: true }, configurable: true });
const stored = {};
globalThis.sessionStorage = Object.defineProperties(stored, {
  getItem: { value: (name) => stored[name] ?? null },
  setItem: { value: (name, value) => void (stored[name] = value) },
  removeItem: { value: (name) => void delete stored[name] },
});

export const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

export async function until(condition, what, seconds = 10) {
  for (const end = Date.now() + seconds * 1000; !condition(); await sleep(0.002))
    if (Date.now() > end) throw new Error(`Never: ${what ?? condition}`);
}

export const WAKES = {
  focus: () => page.dispatchEvent(new Event("focus")),
  pageshow: () => page.dispatchEvent(new Event("pageshow")),
  visibility: () => document.dispatchEvent(new Event("visibilitychange")),
  online: () => page.dispatchEvent(new Event("online")),
};

export function setOnline(isOnline) {
  navigator.onLine = isOnline;
  page.dispatchEvent(new Event(isOnline ? "online" : "offline"));
}

const TYPE = { "Content-Type": "text/event-stream" };
const encoder = new TextEncoder();
const json = (body, status = 200) =>
  new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json" } });
const refusal = (status, code = "refused") => json({ error: { code, message: "No." } }, status);
export const TOKENS = Array.from({ length: 60 }, (_, n) => `${n} `);
export const TEXT = TOKENS.join("");

/** One run: its log grows by a token every `pace` seconds. */
class ServerRun {
  frames = [];
  text = "";
  status = "running";
  constructor(id, origin, { tokens = TOKENS, pace = 0, think = 0 }) {
    this.id = id;
    const path = `${origin}/ai/runs/${id}`;
    this.#add({ run: id, provider: "chat", events: `${path}/events`, stop: `${path}/stop` }, "run");
    this.#produce(tokens, pace, think);
  }
  async #produce(tokens, pace, think) {
    if (think) await sleep(think);
    for (const text of tokens) {
      if (this.status !== "running") return;
      this.text += text;
      this.#add({ text });
      if (pace) await sleep(pace);
    }
    this.end("finished", "stop");
  }
  #add(data, event) {
    const id = `id: ${this.id}:${this.frames.length}\n`;
    this.frames.push(`${id}${event ? `event: ${event}\n` : ""}data: ${JSON.stringify(data)}\n\n`);
  }
  end(status, reason) {
    if (this.status !== "running") return false;
    this.#add({ action: "terminate", reason });
    this.status = status;
    return true;
  }
  get record() {
    const { id, text, status } = this;
    const end = { finished: { reason: "stop" }, stopped: { by: "client" } }[status];
    return { run: id, status, text, cursor: `${id}:${this.frames.length - 1}`, ...(end && { end }) };
  }
  /** `edit` changes what is sent: see `cut`. */
  stream(first, signal, edit) {
    let next = first;
    const pull = async (it) => {
      for (; next === this.frames.length && !signal?.aborted; await sleep(0.002)) if (this.status !== "running") return it.close();
      if (signal?.aborted) return it.error(signal.reason);
      const frame = this.frames[next++];
      await (edit ?? ((frame) => it.enqueue(encoder.encode(frame))))(frame, it, next - first);
    };
    return new Response(new ReadableStream({ pull }), { headers: TYPE });
  }
}

let worlds = 0;

export class World {
  origin = `http://world-${++worlds}`; // Of its own: to an origin, a page has six connections.
  requests = []; // {kind, headers, at}
  runs = [];
  #faults;
  #options;
  #keys = new Map();
  /** `faults`: by kind of request, a list of faults for the first ones; a fault in `always` is for all others. */
  constructor(faults = {}, options = {}) {
    this.#faults = Object.fromEntries(Object.entries(faults).map(([kind, list]) => [kind, [].concat(list)]));
    this.#options = options;
  }
  get run() {
    return this.runs[0];
  }
  count(kind) {
    return this.requests.filter((request) => request.kind === kind).length;
  }
  heal() {
    this.#faults = {};
  }
  /** The `fetch` of a page. */
  fetch = async (url, init) => {
    const kind = kindOf(url, init.method ?? "GET");
    const request = { kind, url, headers: init.headers, signal: init.signal, at: Date.now() };
    this.requests.push(request);
    const list = this.#faults[kind] ?? [];
    const fault = list.length > 1 || !list[0]?.isLasting ? list.shift() : list[0];
    init.signal?.throwIfAborted();
    await sleep(0.001);
    return fault ? fault(request, (edit) => this.#answer(request, edit)) : this.#answer(request);
  };
  #answer({ kind, url, headers, signal }, edit) {
    const key = headers.get("Idempotency-Key");
    if (kind === "start") return this.#start(key).stream(0, signal, edit);
    const run = kind === "stop-by-key" ? this.#keys.get(key) : this.runs.find(({ id }) => url.includes(id));
    if (!run) return refusal(404, "run_not_found");
    if (kind === "record") return json(run.record);
    if (kind === "events") {
      const first = Number(headers.get("Last-Event-ID")?.split(":")[1] ?? -1) + 1;
      const isOver = run.status !== "running" && first >= run.frames.length;
      return isOver ? new Response(null, { status: 204 }) : run.stream(first, signal, edit);
    }
    const stopped = run.end("stopped", "stopped");
    return json({ ...run.record, stopped });
  }
  #start(key) {
    if (!this.#keys.has(key)) {
      this.#keys.set(key, new ServerRun(`r${this.runs.length + 1}`, this.origin, this.#options));
      this.runs.push(this.#keys.get(key));
    }
    return this.#keys.get(key);
  }
}

function kindOf(url, method) {
  if (url.endsWith("/events")) return "events";
  if (url.endsWith("/stop")) return "stop";
  if (url.includes("/runs/")) return "record";
  return method === "DELETE" ? "stop-by-key" : "start";
}

// ---- Faults.

/** The fault for every request from here on. */
export const always = (fault) => Object.assign((...all) => fault(...all), { isLasting: true });

export const reset = () => {
  throw new TypeError("Failed to fetch");
};
const aborted = ({ signal }) =>
  new Promise((_, reject) => {
    const fail = () => reject(signal.reason);
    if (signal?.aborted) fail();
    signal?.addEventListener("abort", fail);
  });
/** The server never answers. `after`: it has received the request. */
export const hang = (request) => aborted(request);
export const hangAfter = (request, answer) => (answer(), aborted(request));
/** The answer is lost. */
export const lose = (request, answer) => (answer(), reset());
export const status = (code, headers = {}, body = "") => () => new Response(code === 204 ? null : body, { status: code, headers });
export const refuse = (code, headers = {}) => () => {
  const { body } = refusal(code);
  return new Response(body, { status: code, headers: { "Content-Type": "application/json", ...headers } });
};
export const page200 = () => new Response("<h1>Log in", { headers: { "Content-Type": "text/html" } });
export const emptyStream = () => new Response("", { headers: TYPE });

/** Pass `count` frames; then the body ends as `how` says. */
export const cut = (count, how) => (request, answer) => {
  const { signal } = request;
  const finish = {
    close: (frame, it) => it.close(),
    error: (frame, it) => it.error(new TypeError("network error")),
    inside: (frame, it) => (it.enqueue(encoder.encode(frame.slice(0, frame.length / 2))), it.close()),
    hang: (frame, it) =>
      new Promise(() => {
        const fail = () => it.error(signal.reason);
        if (signal.aborted) fail();
        signal.addEventListener("abort", fail);
      }),
    ended: (frame, it) => (it.enqueue(encoder.encode('data: {"action":"terminate","reason":"stop"}\n\n')), it.close()),
  }[how];
  return answer((frame, it, n) => (n > count ? finish(frame, it) : it.enqueue(encoder.encode(frame))));
};
/** A JSON answer whose body is broken. */
export const broken = (how) => async (request, answer) => {
  const response = answer();
  const text = await response.text();
  const headers = { "Content-Type": "application/json" };
  if (how === "half") return new Response(text.slice(0, text.length / 2), { headers });
  if (how === "error") {
    const body = new ReadableStream({
      start: (it) => it.enqueue(encoder.encode(text.slice(0, text.length / 2))),
      pull: (it) => it.error(new TypeError("network error")),
    });
    return new Response(body, { headers });
  }
  if (how === "empty") return new Response("", { headers });
  if (how === "null") return new Response("null", { headers });
  return new Response("<h1>Hello", { headers: { "Content-Type": "text/html" } });
};
