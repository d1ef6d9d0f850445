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

/** The unfinished run that was started with `persist: name`, read again from its beginning. */
export function resume(name, options = {}) {
  const entry = sessionStore.read(name);
  if (!entry) return null;
  return new Run({ ...entry, restored: true }, { ...options, persist: name, cursor: undefined });
}

function absolute(url) {
  if (!url) throw new TypeError(`The URL is "${url}" but must be a provider's, such as "/ai/chat".`);
  return new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
}

function addToQuery(url, fields) {
  for (const [name, value] of Object.entries(fields)) {
    if (value === null || value === undefined) continue;
    url.searchParams.set(name, typeof value === "object" ? JSON.stringify(value) : String(value));
  }
}
