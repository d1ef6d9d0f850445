/** The request that stops a run: by its link, or by the key of its start. */

import { makeRoom } from "./connections.js";
import { Fault, asFault, httpFault } from "./faults.js";
import { jsonOf, repeat, send } from "./requests.js";

const STOP_LIMIT = 10; // Seconds, of one attempt.
const UNANSWERED = 100; // Milliseconds. A request without a response for so long may wait for a connection.
const RECHECK = 1; // Seconds. A start that is still on its way is looked for once more.

/**
 * Repeat the request until the server answers. Resolves with its answer, with null where no run has
 * started under the key, or with `{error}`. `onFault` is called before each further attempt.
 */
export async function requestStop(run, { retry, ...options }, onFault) {
  const limit = Math.min(options.silence || STOP_LIMIT, STOP_LIMIT);
  const answer = await repeat(attempt(run, options), { limit, retry }, onFault);
  if (answer?.end?.by !== "detach") return answer;
  // With a detach time of 0, closing the connection has ended the run just before.
  return { ...answer, stopped: true, end: { ...answer.end, by: "client" } };
}

function attempt({ key, start, links }, options) {
  const [url, method, own] = links
    ? [links.stop, "POST"]
    : [start.url, "DELETE", { "Idempotency-Key": key }];
  let isChecked = Boolean(links);
  return async (signal) => {
    let timer;
    const beforeSend = () => (timer ??= setTimeout(makeRoom, UNANSWERED, url));
    try {
      const response = await send(url, { method, own, signal, keepalive: true, beforeSend }, options);
      if (response.ok) return await jsonOf(response);
      if (links || response.status !== 404) return await httpFault(response, true);
      if (isChecked) return null;
      isChecked = true;
      return new Fault("not_started", "No run has started under this key.", { wait: RECHECK });
    } catch (error) {
      // A token that cannot be had now may be had soon, and the run goes on until then.
      return Object.assign(asFault(error), { final: false });
    } finally {
      clearTimeout(timer);
    }
  };
}
