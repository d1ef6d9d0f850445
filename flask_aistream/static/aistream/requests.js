/** Requests with the page's headers, which are asked for each time, and their repetition. */

import { Delays, backoff, offline, onWake, sleep, within } from "./delays.js";
import { Fault, fatal } from "./faults.js";

export const HEADERS_LIMIT = 10; // Seconds that a function of the page may take.

/**
 * Send a request. After a 401, `headers` is called once more and the request sent again.
 *
 * `beforeSend` is called right before each `fetch`. Throws a final fault for a request that cannot be
 * sent, and what `fetch` throws.
 */
export async function send(url, { own = {}, beforeSend, ...request }, options) {
  const { fetch = globalThis.fetch, credentials = "same-origin" } = options;
  for (let renewed = typeof options.headers !== "function"; ; renewed = true) {
    const headers = await headersFor(own, options);
    request.signal?.throwIfAborted();
    const init = { cache: "no-store", credentials, ...request, headers };
    check(url, fetch, init);
    beforeSend?.();
    const response = await fetchAllowed(fetch, url, init);
    if (response.status !== 401 || renewed) return response;
    response.body?.cancel().catch(() => {});
  }
}

async function headersFor(own, { headers, silence }) {
  const limit = Math.min(silence || HEADERS_LIMIT, HEADERS_LIMIT);
  const late = () => {
    throw new Error(`it did not answer within ${limit} seconds`);
  };
  let given = headers;
  if (typeof headers === "function") {
    try {
      given = await within(limit, headers(), late);
    } catch (error) {
      // Offline, a function that fetches a token cannot succeed.
      const fault = fatal("headers_failed", `The \`headers\` function failed: ${error?.message ?? error}.`);
      fault.final = !offline();
      throw fault;
    }
  }
  try {
    const all = new Headers(given ?? undefined);
    for (const name of Object.keys(own)) all.set(name, own[name]);
    return all;
  } catch (error) {
    throw fatal("request_invalid", `The headers cannot be sent: ${error.message}.`);
  }
}

/** `fetch`, which throws the same for a lost connection and for a request that the page's policy forbids. */
async function fetchAllowed(fetch, url, init) {
  let forbidden = false;
  const life = new AbortController();
  const note = ({ disposition, effectiveDirective, blockedURI }) => {
    if (disposition === "enforce" && effectiveDirective === "connect-src") forbidden ||= url.startsWith(blockedURI);
  };
  globalThis.addEventListener?.("securitypolicyviolation", note, { signal: life.signal });
  try {
    return await fetch(url, init);
  } catch (error) {
    await sleep(0); // The event may follow.
    if (!forbidden) throw error;
    const message = `The page's Content Security Policy forbids the request: add ${new URL(url).origin} to connect-src.`;
    throw new Fault("request_blocked", message, { final: true, refused: true });
  } finally {
    life.abort();
  }
}

/** A JSON object; an empty one where the body is something else. Throws if it is cut off. */
export async function jsonOf(response) {
  const text = await response.text();
  try {
    return JSON.parse(text) ?? {};
  } catch {
    if (text.startsWith("{")) throw new Fault("connection_lost", "The answer is cut off.");
    return {};
  }
}

// `fetch` rejects these with the TypeError that it also throws for a lost connection.
function check(url, fetch, { signal, ...init }) {
  if (typeof fetch !== "function") throw fatal("request_invalid", "`fetch` is not a function.");
  try {
    new Request(url, init);
  } catch (error) {
    throw fatal("request_invalid", `The request cannot be sent: ${error.message}.`);
  }
}

/**
 * Repeat a request until the server answers it, or until no further attempt can help.
 *
 * `post(signal)` resolves with an answer or a Fault within `limit` seconds. `onFault` is called before
 * each further attempt. An attempt counts neither without a network nor after waking up, which ends the
 * wait; a network that comes back ends the attempt, too.
 */
export async function repeat(post, { limit, retry }, onFault) {
  const delays = new Delays();
  const life = new AbortController();
  let [attempt, woken] = [life, false];
  const wake = (online) => {
    woken = true;
    if (online) attempt.abort();
    delays.end();
  };
  onWake(wake, life.signal);
  try {
    for (let failures = 0; ; ) {
      const early = woken;
      [attempt, woken] = [new AbortController(), false];
      const timer = setTimeout(() => attempt.abort(), limit * 1000);
      const answer = await post(attempt.signal);
      clearTimeout(timer);
      if (!(answer instanceof Fault)) return answer;
      if (!offline() && !early && !woken) failures += 1;
      if (answer.final || failures > retry.attempts) return { error: answer.error };
      onFault(answer);
      const wait = offline() ? retry.max : (answer.wait ?? backoff(retry, failures));
      if (!woken || answer.firm) await delays.wait(wait, answer.firm);
    }
  } finally {
    life.abort();
  }
}
