/** One answer on the page: its text as it grows, then its sources and how it ended. */
import { render } from "./markdown.js";

const MANUAL = "/manual/"; // Where documents that are named by a file of this project can be read.

const ENDINGS = {
  stopped: "Stopped.",
  interrupted: "The answer was cut off before its end.",
  failed: "Something went wrong.",
  length: "The answer reached its greatest length.",
  "content-filter": "The rest was withheld by the model's filter.",
};
const WORTH_ANOTHER_TRY = new Set(["interrupted", "failed"]);

export class Answer {
  #turn;
  #again;
  #drawn = false;
  #text = make("div", "text");
  #sources = make("div", "sources");
  #reasoning = make("details", "reasoning");

  /** `turn` is only read; `again` is called when another try is asked for. */
  constructor(turn, again) {
    this.#turn = turn;
    this.#again = again;
    this.element = make("li", "answered open");
    this.element.setAttribute("aria-busy", "true");
    this.#reasoning.append(make("summary", "", "Thoughts"), make("p"));
    this.element.append(this.#reasoning, this.#text, this.#sources);
    this.#draw();
    if (turn.ending) this.end();
  }

  /** The turn has grown. Drawn once a frame, however many events came. */
  grow() {
    if (this.#drawn) requestAnimationFrame(() => this.#draw());
    this.#drawn = false;
  }

  end() {
    this.#draw();
    const { ending, reason, error, usage } = this.#turn;
    this.element.classList.remove("open");
    this.element.setAttribute("aria-busy", "false");
    const said = error || ENDINGS[ending] || ENDINGS[reason] || "";
    const note = make("p", `ending ${ending}`, said);
    if (WORTH_ANOTHER_TRY.has(ending)) note.append(button("Try again", this.#again));
    if (usage) note.append(make("span", "usage", tokens(usage)));
    if (note.childNodes.length) this.element.append(note);
  }

  #draw() {
    const { content, reasoning, sources } = this.#turn;
    this.#drawn = true;
    this.#reasoning.hidden = !reasoning;
    this.#reasoning.lastElementChild.textContent = reasoning;
    render(this.#text, content);
    this.#sources.hidden = sources.length === 0;
    if (sources.length !== this.#sources.querySelectorAll("li").length) this.#drawSources(sources);
  }

  #drawSources(sources) {
    const list = make("ol");
    for (const source of sources) {
      const item = make("li");
      item.append(link(source));
      list.append(item);
    }
    this.#sources.replaceChildren(make("h3", "", "Sources"), list);
  }
}

function link({ title, url, filename }) {
  const address = filename ? MANUAL + filename : url;
  if (!/^(https?:|\/)/.test(address ?? "")) return make("span", "", title);
  // A docstring's title names its file already.
  const made = make("a", "", filename?.endsWith(".md") ? `${filename} › ${title}` : title);
  made.href = address;
  made.title = made.textContent;
  made.target = "_blank";
  made.rel = "noopener noreferrer";
  return made;
}

function tokens({ input_tokens: read, output_tokens: written }) {
  return [read && `${read} tokens read`, written && `${written} written`].filter(Boolean).join(", ");
}

function button(label, act) {
  const made = make("button", "", label);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}

function make(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}
