/** The options of a run, with defaults in place of what is missing or no number. */

import { LONGEST } from "./faults.js";

// Seconds. The server sends a heartbeat every 15: two may get lost before a connection counts as dead.
const SILENCE = 45;
const RETRY = { attempts: 10, base: 1, max: 30 };

export function settings(options) {
  const { silence = SILENCE, ...given } = defined(options);
  const retry = { ...RETRY, ...defined(given.retry) };
  for (const name of Object.keys(RETRY)) if (!(retry[name] >= 0)) retry[name] = RETRY[name];
  retry.max = Math.min(retry.max, LONGEST);
  const limit = silence > LONGEST || silence === null ? 0 : silence >= 0 ? silence : SILENCE;
  return { ...given, retry, silence: limit };
}

/** Without undefined, and without null; null stands for no limit of silence. */
function defined(options) {
  const isGiven = ([name, value]) => value !== undefined && (value !== null || name === "silence");
  return Object.fromEntries(Object.entries(options ?? {}).filter(isGiven));
}
