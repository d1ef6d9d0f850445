/** The request that stops a run: by its link, or by the key of its start. */

import { Fault, asFault, httpFault } from "./faults.js";
import { repeat, send } from "./requests.js";

const STOP_LIMIT = 10; // Seconds, of one attempt.
const RECHECK = 1; // Seconds. A start that is still on its way is looked for once more.

/**
 * Repeat the request until the server answers. Resolves with its answer, with null where no run has
 * started under the key, or with `{error}`. `onFault` is called before each further attempt.
 */
export async function requestStop({ key, start, links }, options, onFault) {
  const answer = await repeat(attempt({ key, start, links }, options), options.retry, onFault);
  if (answer?.end?.by !== "detach") return answer;
  // With a detach time of 0, closing the connection has ended the run just before.
  return { ...answer, stopped: true, end: { ...answer.end, by: "client" } };
}

function attempt({ key, start, links }, options) {
  const limit = Math.min(options.silence || STOP_LIMIT, STOP_LIMIT) * 1000;
  const [url, method, own] = links
    ? [links.stop, "POST"]
    : [start.url, "DELETE", { "Idempotency-Key": key }];
  let isChecked = Boolean(links);
  return async () => {
    try {
      const signal = AbortSignal.timeout(limit);
      const response = await send(url, { method, own, signal, keepalive: true }, options);
      if (response.ok) return await response.json().catch(() => ({}));
      if (links || response.status !== 404) return await httpFault(response, true);
      if (isChecked) return null;
      isChecked = true;
      return new Fault("not_started", "No run has started under this key.", { wait: RECHECK });
    } catch (error) {
      // A token that cannot be had now may be had soon, and the run goes on until then.
      return Object.assign(asFault(error), { final: false });
    }
  };
}
