/** The attempts to reach the server: how many failed, whether to make another one, and when. */

import { Delays, backoff, offline, within } from "./delays.js";
import { LONGEST, fatal } from "./faults.js";
import { HEADERS_LIMIT } from "./requests.js";

export class Attempts {
  /** In a row without progress. */
  failures = 0;
  #retry;
  #delays = new Delays();

  /** `retry`: the options of that name; `base` follows the server's. */
  constructor(retry) {
    this.#retry = retry;
  }

  /** Count a failure; not one that says nothing of the server, or that waking up has brought forward. */
  count(fault, early) {
    if (!offline() && !early && !fault.early) this.failures += 1;
  }

  /** The fault to give up with, or null: as `retry.decide` says, and by the own rule where it says nothing. */
  async judge(fault) {
    const { attempts, decide } = this.#retry;
    const final = fault.final || this.failures > attempts;
    const own = final ? fault : null;
    if (!decide) return own;
    const { error, wait, response } = fault;
    try {
      const asked = { ...error, attempt: this.failures, wait, final, response };
      const verdict = await within(HEADERS_LIMIT, decide(asked));
      if (verdict === "stop") return fault;
      if (verdict === "retry") return null;
      if (!(typeof verdict === "number" && verdict >= 0)) return own;
      return void Object.assign(fault, { wait: Math.min(verdict, LONGEST), firm: false });
    } catch (error) {
      return fatal("decide_failed", `The \`retry.decide\` function failed: ${error?.message ?? error}.`);
    }
  }

  /**
   * Wait as long as the fault asks for, and longer where there is no network; not for ever, since a
   * browser may be wrong about that. `onWait` is called with what the page may show. Resolves as
   * `Delays.wait` does.
   */
  async pause({ wait, firm, error }, onWait) {
    const attempt = this.failures;
    const seconds = wait ?? backoff(this.#retry, attempt);
    onWait({ attempt, wait: seconds, reason: error.status && !offline() ? "server" : "network", error });
    const ran = await this.#delays.wait(seconds, firm);
    if (!offline() || ran === null) return ran;
    const { max } = this.#retry;
    onWait({ attempt, wait: max, reason: "network", error });
    return this.#delays.wait(max);
  }

  /** End the wait, unless the server asked for it. */
  wake() {
    this.#delays.end();
  }

  /** End every wait. */
  end() {
    this.#delays.end(true);
  }
}
