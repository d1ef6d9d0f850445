/** The line above the composer: what the run does, with the seconds that it takes or waits. */

const EVERY = 250; // Milliseconds between two looks at the clock.
const WARNINGS = new Set(["waiting", "reconnecting"]);

export class StatusLine {
  #element;
  #change = null;
  #since = 0;
  #timer;

  constructor(element) {
    this.#element = element;
    for (const type of ["online", "offline"]) addEventListener(type, () => this.#draw());
  }

  /** Show a change of a run's status, `{status, reason, wait, error}`; or nothing, for null. */
  show(change) {
    this.#change = change;
    this.#since = performance.now();
    clearInterval(this.#timer);
    if (change?.status === "thinking" || change?.wait) this.#timer = setInterval(() => this.#draw(), EVERY);
    this.#draw();
  }

  #draw() {
    const seconds = (performance.now() - this.#since) / 1000;
    const text = this.#change ? describe(this.#change, seconds, navigator.onLine) : "";
    if (this.#element.textContent !== text) this.#element.textContent = text;
    this.#element.classList.toggle("warning", WARNINGS.has(this.#change?.status));
  }
}

/** A sentence about a status that has lasted for so many seconds. */
export function describe({ status, reason, wait = 0 }, seconds, isOnline) {
  if (WARNINGS.has(status) && !isOnline) return "No network. The answer continues when it is back.";
  if (status === "thinking") return seconds < 1 ? "Thinking…" : `Thinking… ${Math.floor(seconds)} s`;
  if (status !== "waiting") return STATUS[status] ?? "";
  const left = Math.ceil(wait - seconds);
  return `${WAITING[reason] ?? WAITING.network}${left > 1 ? ` in ${left} s` : ""}…`;
}

const STATUS = {
  connecting: "Connecting…",
  streaming: "Answering…",
  reconnecting: "Connection lost. Reconnecting…",
  stopping: "Stopping…",
};

const WAITING = {
  network: "Connection lost. Reconnecting",
  server: "The server is not available. Trying again",
  connections: "This browser has no free connection: six other answers are open. Waiting for one",
};
