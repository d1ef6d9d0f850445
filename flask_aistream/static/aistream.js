/**
 * The client of flask_aistream's native protocol.
 *
 * A run is an append-only log of events on the server; a connection is a cursor over it. A lost
 * connection is reopened at the cursor, and only the log tells how the run ended.
 */

import { Run } from "./aistream/run.js";
import { randomKey, sessionStore } from "./aistream/session_store.js";

export { EventStreamParser } from "./aistream/parser.js";
export { Run };

/** Start a run. `input` is sent as JSON by POST, or in the query where the method is GET. */
export function stream(url, input, options) {
  sendStops(options ?? {});
  const fields = fieldsOf(input ?? null);
  const method = (options?.method ?? (fields === null ? "GET" : "POST")).toUpperCase();
  const target = absolute(url);
  if (method === "GET") addToQuery(target, fields ?? {});
  const body = method === "GET" ? undefined : JSON.stringify(fields ?? {});
  const key = options?.key ?? randomKey();
  return new Run({ key, start: { url: target.href, method, body } }, options);
}

/** Read the run behind an `events` link, from its beginning or from `options.cursor`. */
export function attach(eventsUrl, options) {
  sendStops(options ?? {});
  const events = absolute(eventsUrl).href;
  const stop = events.replace(/\/events(?=$|\?)/, "/stop");
  return new Run({ key: options?.key ?? randomKey(), links: { events, stop } }, options);
}

/** The unfinished run that was started with `persist: name`, read again from its beginning. */
export function resume(name, options) {
  sendStops(options ?? {});
  const entry = sessionStore.find(name);
  if (!entry) return null;
  return new Run({ ...entry, restored: true }, { ...options, persist: name, cursor: undefined });
}

const PAGE_SETUP = 1000; // Milliseconds in which a page uses the client, with its own `headers`.
const unsentStops = sessionStore.findStops();
if (unsentStops.length) setTimeout(sendStops, PAGE_SETUP);

/** Send the stop requests that a reload cut off, as `options` says requests are sent. */
function sendStops({ headers, fetch, credentials } = {}) {
  for (const entry of unsentStops.splice(0)) {
    const sending = { headers, fetch, credentials: credentials ?? entry.credentials };
    const run = new Run({ ...entry, restored: true }, sending);
    run.stop();
    run.detach();
  }
}

function fieldsOf(input) {
  if (typeof input === "string") return { prompt: input };
  const kind = Object.prototype.toString.call(input);
  if (/\s(Object|Array|Null)\]/.test(kind) || input.toJSON) return input;
  throw new TypeError(`The input is ${kind} but must be a text, or an object that becomes JSON.`);
}

function absolute(url) {
  const made = url && new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
  if (/^https?:$/.test(made?.protocol)) return made;
  throw new TypeError(`The URL is "${url}" but must be a provider's, by http: or https:, such as "/ai/chat".`);
}

function addToQuery(url, fields) {
  for (const [name, value] of Object.entries(fields)) {
    if (value === null || value === undefined) continue;
    url.searchParams.set(name, typeof value === "object" ? JSON.stringify(value) : String(value));
  }
}
