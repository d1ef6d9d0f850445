/** One answer on the page: its reasoning, its text as it grows, its sources, and a footer at its end. */

import { render } from "../markdown.js";
import { make } from "./elements.js";
import { footer } from "./footer.js";
import { sourceList } from "./sources.js";

export class Answer {
  #turn;
  #actions;
  #isDrawn = false;
  #reasoning = make("details", "reasoning");
  #text = make("div", "text");
  #sources = make("div", "sources");

  /** `turn` is only read. `again` is called to ask for another answer. */
  constructor(turn, { again }) {
    this.#turn = turn;
    this.#actions = { again };
    this.element = make("li", "answered open");
    this.element.setAttribute("aria-busy", "true");
    this.#reasoning.append(make("summary"), make("p"));
    this.element.append(make("h2", "unseen", "Answer"), this.#reasoning, this.#text, this.#sources);
    this.#draw();
    if (turn.ending) this.end();
  }

  /** The answer as a screen reader says it. */
  get spoken() {
    const copy = this.#text.cloneNode(true);
    for (const bar of copy.querySelectorAll(".code .bar")) bar.remove();
    return [...copy.children].map(({ textContent }) => textContent).join("\n");
  }

  /** The turn has grown. Drawn once per frame, however many events arrive. */
  grow() {
    if (this.#isDrawn) requestAnimationFrame(() => this.#draw());
    this.#isDrawn = false;
  }

  end() {
    this.element.classList.remove("open");
    this.element.setAttribute("aria-busy", "false");
    this.element.append(footer(this.#turn, this.#actions)); // Before the text, whose drawing may fail.
    this.#draw();
  }

  #draw() {
    const { content, reasoning, sources, thought, ending } = this.#turn;
    this.#isDrawn = true;
    this.#reasoning.hidden = !reasoning;
    const [summary, thoughts] = this.#reasoning.children;
    summary.textContent = thought ? `Thought for ${Math.ceil(thought)} s` : ending || content ? "Thoughts" : "Thinking…";
    thoughts.textContent = reasoning;
    this.#sources.hidden = sources.length === 0;
    if (sources.length !== this.#sources.querySelectorAll("li").length)
      this.#sources.replaceChildren(...sourceList(sources));
    render(this.#text, content);
  }
}
