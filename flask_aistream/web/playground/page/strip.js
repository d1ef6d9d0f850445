/** The strip: a run's connections, frames, heartbeats and gaps over time, drawn as they happen. */

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 104;
const LEAST = 2; // Seconds that the strip shows at least.
const GAP = 1; // Seconds.
const LANES = { label: 12, connection: 24, frames: [36, 72], heartbeat: 80, axis: 100 };
const FLAGS = { first: "first token", cut: "cut", lost: "lost", stop: "stop", detach: "detach" };
const ENDS = new Set(["closed", "lost", "cut", "left"]);
const STEPS = [0.5, 1, 2, 5, 10, 30, 60, 300, 600];

export class Strip {
  #svg;
  #paths = {};
  #labels;

  constructor(svg) {
    this.#svg = svg;
    for (const name of ["gap", "axis", "connection", "frame", "heartbeat", "flag"])
      svg.append((this.#paths[name] = element("path", { class: name })));
    svg.append((this.#labels = element("g", {})));
  }

  /** `isOver`: the time stands still at the last mark. */
  draw(timeline, isOver) {
    const width = this.#svg.clientWidth;
    if (!width) return;
    const { marks } = timeline;
    const end = Math.max(LEAST, isOver ? (marks.at(-1)?.at ?? 0) : timeline.now());
    const scale = (at) => Math.round((at / end) * (width - 2)) + 1;
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.#labels.replaceChildren();
    this.#path("connection", bars(marks, end, scale));
    this.#path("frame", ticks(marks, "frame", scale, LANES.frames));
    this.#path("heartbeat", ticks(marks, "heartbeat", scale, [LANES.heartbeat - 4, LANES.heartbeat + 4]));
    this.#path("gap", this.#gaps(marks, scale));
    this.#path("flag", this.#flags(marks, scale, width));
    this.#path("axis", this.#axis(end, scale, width));
  }

  #path(name, d) {
    this.#paths[name].setAttribute("d", d);
  }

  #label(className, x, y, text, anchor = "middle") {
    this.#labels.append(element("text", { class: className, x, y, "text-anchor": anchor }, text));
  }

  #gaps(marks, scale) {
    const [top, bottom] = LANES.frames;
    return marks
      .filter(({ since }) => since >= GAP)
      .map(({ at, since }) => {
        const [from, to] = [scale(at - since), scale(at)];
        if (to - from > 40) this.#label("gap", (from + to) / 2, (top + bottom) / 2 + 4, `${since.toFixed(1)} s`);
        return `M${from} ${top}H${to}V${bottom}H${from}Z`;
      })
      .join("");
  }

  #flags(marks, scale, width) {
    let free = 0; // Where the last label ends.
    return marks
      .filter(({ kind, connection }) => FLAGS[kind] || (kind === "open" && connection > 1))
      .map(({ kind, at }) => {
        const [x, text] = [scale(at), FLAGS[kind] ?? "resumed"];
        const length = text.length * 6.5;
        const left = x + length > width ? x - length : x;
        if (left >= free) {
          this.#label("flag", left + 3, LANES.label, text, "start");
          free = left + length;
        }
        return `M${x} ${LANES.label - 8}V${LANES.frames[1]}`;
      })
      .join("");
  }

  #axis(end, scale, width) {
    const step = STEPS.find((it) => (scale(it) - scale(0)) > 56) ?? STEPS.at(-1);
    let path = "";
    for (let at = 0; at <= end; at += step) {
      path += `M${scale(at)} ${LANES.axis - 12}v4`;
      if (scale(at) < width - 24) this.#label("axis", scale(at), LANES.axis, `${at} s`, at ? "middle" : "start");
    }
    return path;
  }
}

function bars(marks, end, scale) {
  return marks
    .filter(({ kind }) => kind === "open")
    .map(({ connection, asked }) => {
      const closed = marks.find((mark) => ENDS.has(mark.kind) && mark.connection === connection);
      return `M${scale(asked)} ${LANES.connection}H${scale(closed?.at ?? end)}`;
    })
    .join("");
}

/** One line for each pixel that has a mark. */
function ticks(marks, kind, scale, [top, bottom]) {
  const places = new Set(marks.filter((mark) => mark.kind === kind).map(({ at }) => scale(at)));
  return [...places].map((x) => `M${x}.5 ${top}V${bottom}`).join("");
}

function element(name, attributes, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}
