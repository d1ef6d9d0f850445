/** Requests with the page's headers, which are asked for each time, and their repetition. */

import { Delays, backoff, offline, within } from "./delays.js";
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
    check(url, init);
    beforeSend?.();
    const response = await fetch(url, init);
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

// `fetch` rejects these with the TypeError that it also throws for a lost connection.
function check(url, { signal, ...init }) {
  try {
    new Request(url, init);
  } catch (error) {
    throw fatal("request_invalid", `The request cannot be sent: ${error.message}.`);
  }
}

/**
 * Repeat a request until the server answers it, or until no further attempt can help.
 *
 * `post` resolves with an answer or a Fault, and `onFault` is called before each further attempt.
 * Without a network no attempt counts, and the next one is made when the network is back.
 */
export async function repeat(post, retry, onFault) {
  const delays = new Delays();
  const life = new AbortController();
  const wake = () => delays.end();
  for (const type of ["online", "pageshow"])
    globalThis.addEventListener?.(type, wake, { signal: life.signal });
  try {
    for (let failures = 0; ; ) {
      const answer = await post();
      if (!(answer instanceof Fault)) return answer;
      if (!offline()) failures += 1;
      if (answer.final || failures > retry.attempts) return { error: answer.error };
      onFault(answer);
      await delays.wait(offline() ? retry.max : (answer.wait ?? backoff(retry, failures)), answer.firm);
    }
  } finally {
    life.abort();
  }
}
