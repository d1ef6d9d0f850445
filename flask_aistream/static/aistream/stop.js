/** Repeat a request until the server answers it, or until no further attempt can help. */

import { Delays, backoff, offline } from "./delays.js";
import { Fault } from "./faults.js";

/**
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
