/** The position of a reader in the log of a run. */

import { fatal } from "./faults.js";

const CURSOR = /^([\w-]{1,64}):(\d{1,15})$/;

export class Cursor {
  /** Id of the run; null until received. */
  run = null;
  number = -1; // Of the last event that was read.
  #prefix = null; // What each id of this run begins with.

  /** `id`: where to begin, as `toString` returns it. */
  constructor(id) {
    if (!id) return;
    const [run, number] = parseCursor(id);
    if (!run) throw new TypeError(`The cursor "${id}" must be "run:number", as in run.cursor.`);
    this.#moveTo(run, number);
  }

  /** Null at the beginning. */
  get value() {
    return this.number < 0 ? null : `${this.run}:${this.number}`;
  }

  /** Move to an event. False for one that was read before; throws for one whose predecessor is missing. */
  admit(id, isGap) {
    if (this.#prefix !== null && id.startsWith(this.#prefix)) {
      const next = this.number + 1;
      if (Number(id.slice(this.#prefix.length)) === next) {
        this.number = next;
        return true;
      }
    }
    const [run, number] = parseCursor(id);
    if (!run) return true;
    const broken = (how) =>
      fatal("stream_broken", `Event ${id} came after ${this.value ?? "the beginning"}: ${how}.`);
    if (run !== (this.run ?? run)) throw broken("it is of another run");
    if (number <= this.number) return false;
    if (number > this.number + 1 && !isGap) throw broken("some are missing");
    this.#moveTo(run, number);
    return true;
  }

  #moveTo(run, number) {
    [this.run, this.#prefix, this.number] = [run, `${run}:`, number];
  }
}

/** `[run, number]`; an empty list for an id of another form. */
export function parseCursor(id) {
  const [, run, digits] = CURSOR.exec(id) ?? [];
  return run ? [run, Number(digits)] : [];
}
