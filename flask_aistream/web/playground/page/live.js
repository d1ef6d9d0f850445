/** The live view: running and recent runs of all workers, asked for each second while the page is visible. */

import { make } from "./elements.js";

const PERIOD = 1000; // Milliseconds.
const AFTER_FAILURE = 5000;
const KNOWN = 50; // Runs of this tab whose ids are sent: an anonymous run is its reader's by its id.
const STORED = "aistream-playground-runs";

export class Live {
  #body;
  #note;
  #urls;
  #rows = new Map(); // Id of a run → its row.
  #timer;
  #isAsking = false;

  /** `urls`: `{api, page}`: of the playground's JSON, and of the routes of runs. */
  constructor(table, note, urls) {
    this.#body = table.tBodies[0];
    this.#note = note;
    this.#urls = urls;
    document.addEventListener("visibilitychange", () => document.hidden || this.refresh());
    this.refresh();
  }

  /** Remember a run of this tab. */
  add(id) {
    const ids = known();
    if (!ids.includes(id)) sessionStorage.setItem(STORED, JSON.stringify([id, ...ids].slice(0, KNOWN)));
  }

  async refresh() {
    if (this.#isAsking || document.hidden) return;
    this.#isAsking = true;
    clearTimeout(this.#timer);
    const listing = await this.#ask();
    this.#isAsking = false;
    if (listing) this.#show(listing);
    this.#timer = setTimeout(() => this.refresh(), listing ? PERIOD : AFTER_FAILURE);
  }

  async #ask() {
    const query = new URLSearchParams(known().map((id) => ["run", id]));
    try {
      const answer = await fetch(`${this.#urls.api}/runs?${query}`);
      if (answer.ok) return await answer.json();
      this.#note.textContent = (await answer.json()).error?.message ?? `The server answers ${answer.status}.`;
    } catch {
      this.#note.textContent = "The server does not answer.";
    }
    return null;
  }

  #show({ runs, unread, now, operator }) {
    const whose = operator ? "of all callers" : "yours";
    this.#note.textContent = unread ? `${whose}; ${unread} more are being read` : whose;
    const rows = runs.map((run) => this.#row(run).update(run, now).element);
    const ids = new Set(runs.map(({ run }) => run));
    for (const [id, row] of this.#rows) if (!ids.has(id)) this.#rows.delete(id), row.element.remove();
    // Rows that stay in place are not moved: one of their buttons may have the focus.
    rows.forEach((row, place) => {
      if (this.#body.rows[place] !== row) this.#body.insertBefore(row, this.#body.rows[place] ?? null);
    });
  }

  #row(run) {
    if (!this.#rows.has(run.run)) this.#rows.set(run.run, new Row(run, (latest) => this.#stop(latest)));
    return this.#rows.get(run.run);
  }

  async #stop({ run, own }) {
    const path = own ? `${this.#urls.page}/runs/${run}/stop` : `${this.#urls.api}/runs/${run}/stop`;
    await fetch(path, { method: "POST" }).catch(() => null);
    this.refresh();
  }
}

class Row {
  #cells = {};
  #stop;
  #tokens;
  #at;
  #speed = null;
  #run;

  /** `stop`: called with the run as it was listed last. */
  constructor(run, stop) {
    const link = make("a", { href: `#run=${run.run}`, text: run.run.slice(0, 8), title: `Read ${run.run}` });
    this.#stop = make("button", { type: "button", text: "Stop", onclick: () => stop(this.#run) });
    this.#stop.setAttribute("aria-label", `Stop ${run.run.slice(0, 8)}`);
    this.element = make("tr", {}, make("td", {}, run.own || !run.owner ? link : make("code", { text: run.run.slice(0, 8) })));
    for (const [name, label] of Object.entries(LABELS)) {
      const cell = make("td", { class: NUMBERS.has(name) ? "number" : "" });
      cell.dataset.label = label;
      this.element.append((this.#cells[name] = cell));
    }
    this.element.append(make("td", { class: "actions" }, this.#stop));
    this.#cells.provider.textContent = run.provider;
  }

  update(run, now) {
    this.#run = run;
    this.element.className = run.status;
    this.#set("owner", run.own ? "you" : (run.owner ?? "anonymous"));
    this.#set("status", run.status);
    this.#set("tokens", String(run.tokens));
    this.#set("speed", rate(run.ended ? run.tokens / run.seconds : this.#measure(run, now)));
    this.#set("readers", run.ended ? "" : readers(run));
    this.#set("started", ago(now - run.created));
    this.#stop.hidden = run.ended;
    return this;
  }

  #set(name, text) {
    if (this.#cells[name].textContent !== text) this.#cells[name].textContent = text;
  }

  /** Tokens per second since the last listing, smoothed; at first since the start. */
  #measure(run, now) {
    const [tokens, at] = [this.#tokens ?? 0, this.#at ?? run.created];
    if (now > at) {
      const speed = (run.tokens - tokens) / (now - at);
      this.#speed = this.#speed === null ? speed : (this.#speed + speed) / 2;
      [this.#tokens, this.#at] = [run.tokens, now];
    }
    return this.#speed;
  }
}

const LABELS = {
  provider: "Provider",
  status: "State",
  tokens: "Tokens",
  speed: "Tokens/s",
  readers: "Readers",
  owner: "Owner",
  started: "Started",
};
const NUMBERS = new Set(["tokens", "speed", "readers", "started"]);

function known() {
  try {
    return JSON.parse(sessionStorage.getItem(STORED)) ?? [];
  } catch {
    return [];
  }
}

function readers({ readers, elsewhere }) {
  return elsewhere ? `${readers} + other workers` : String(readers);
}

function rate(value) {
  return Number.isFinite(value) ? value.toFixed(value < 10 ? 1 : 0) : "";
}

function ago(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s ago`;
  return seconds < 3600 ? `${Math.floor(seconds / 60)} min ago` : `${Math.floor(seconds / 3600)} h ago`;
}
