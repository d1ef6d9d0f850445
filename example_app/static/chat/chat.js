/**
 * A conversation on the page. At most one of its answers is a run that is still going.
 *
 * The client owns the connections: `stream` starts a run, `resume` finds it after a reload. What the page
 * shows follows from the events and the status of the run.
 */

import { attach, resume, stream } from "/ai/static/aistream.js";
import { Answer } from "./answer.js";
import { Question } from "./question.js";
import * as turns from "./turns.js";

const PROVIDER = "/ai/chat";

/**
 * Events: "change" (turns were added or removed, a run began or ended), "status" (detail: the change of the
 * run's status, or null), "begin" and "end" of an answer (detail: `{turn, view}`).
 */
export class Chat extends EventTarget {
  #log;
  #save;
  #model;
  #conversation = turns.newConversation();
  #run = null;

  /** `log`: a list element. `save(conversation)` stores it; `model()` names the model that is chosen. */
  constructor(log, { save, model }) {
    super();
    this.#log = log;
    this.#save = () => save(this.#conversation);
    this.#model = model;
  }

  get conversation() {
    return this.#conversation;
  }

  get isBusy() {
    return this.#run !== null;
  }

  /** Show a conversation in place of the present one, whose run is left. Its own run is found again. */
  show(conversation) {
    const left = this.#run;
    this.#run = null;
    if (left?.status !== "stopping") left?.detach();
    this.#conversation = conversation;
    this.#log.replaceChildren();
    const last = conversation.turns.at(-1);
    const isOpen = last?.role === "assistant" && !last.ending;
    if (isOpen) conversation.turns.pop();
    conversation.turns.forEach((turn, place) => this.#draw(turn, place));
    const found = conversation.stored ? live(conversation) : last && !last.ending ? resume(this.#name) : null;
    if (found) this.#answer(found, isOpen ? last : undefined);
    else if (isOpen || last?.role === "user") this.#addCutOff(isOpen ? last : turns.newAnswer());
    this.#dispatch("status", null);
    this.#dispatch("change");
  }

  ask(text, change = {}) {
    if (this.isBusy) return;
    const question = turns.newQuestion(text);
    this.#add(question);
    this.#save();
    this.#start({ messages: [turns.message(question)], ...change });
  }

  /** Ask a question in place of the one at `place`, and of all that came after it. */
  edit(place, text) {
    if (this.isBusy) return;
    const { id } = this.#conversation.turns[place];
    this.#rewind(place);
    this.ask(text, { edit: id });
  }

  /** The last question once more. A run that only this page lost is picked up instead. */
  again() {
    if (this.isBusy) return;
    this.#rewind(this.#conversation.turns.findLastIndex(({ role }) => role === "user") + 1);
    const found = this.#conversation.stored ? null : resume(this.#name);
    if (found) this.#answer(found);
    else this.#start({ regenerate: true });
  }

  stop() {
    return this.#run?.stop();
  }

  /** Store the conversation as it stands, in the middle of an answer too. */
  save() {
    this.#save();
  }

  // What the unfinished run is stored under in this tab.
  get #name() {
    return `chat:${this.#conversation.id}`;
  }

  /** `change`: what a conversation of the server is sent, which has all earlier messages. */
  #start(change) {
    const model = this.#model();
    const { id, stored } = this.#conversation;
    const said = stored ? { chat: id, ...change } : { messages: turns.messages(this.#conversation) };
    const input = { ...said, ...(model && { model }) };
    this.#answer(stream(PROVIDER, input, { persist: this.#name }), turns.newAnswer(model));
  }

  /** Show a run as the next turn, until it ends. */
  async #answer(run, turn = turns.newAnswer()) {
    this.#run = run;
    const view = this.#add(turn);
    this.#dispatch("begin", { turn, view });
    run.on("status", (change) => run === this.#run && this.#dispatch("status", change));
    this.#dispatch("status", { status: run.status });
    this.#dispatch("change");
    for await (const event of run) {
      attempt(() => {
        turns.apply(turn, event, run.text);
        view.grow();
      });
    }
    const outcome = await run.done;
    if (run !== this.#run) return; // Another conversation is shown.
    this.#run = null;
    turns.end(turn, outcome);
    this.#save();
    this.#dispatch("status", null);
    this.#dispatch("change");
    attempt(() => view.end());
    this.#dispatch("end", { turn, view });
  }

  #addCutOff(turn) {
    this.#add({ ...turn, ending: "interrupted" });
  }

  #add(turn) {
    return this.#draw(turn, this.#conversation.turns.push(turn) - 1);
  }

  #draw(turn, place) {
    const view =
      turn.role === "user"
        ? new Question(turn.content, (text) => this.edit(place, text))
        : new Answer(turn, { again: () => this.again() });
    this.#log.append(view.element);
    return view;
  }

  /** Keep the first `length` turns. */
  #rewind(length) {
    this.#conversation.turns.length = length;
    while (this.#log.children.length > length) this.#log.lastElementChild.remove();
  }

  #dispatch(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** The run of a stored conversation that is going on, wherever it was asked. */
function live({ live }) {
  return live ? attach(`/ai/runs/${live}/events`) : null;
}

/** An exception while drawing must not end the reading, and leave the page without its Send button. */
function attempt(draw) {
  try {
    draw();
  } catch (error) {
    reportError(error);
  }
}
