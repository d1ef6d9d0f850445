/**
 * A conversation as data: `{id, turns}`. A turn is `{role, content}`; an answer also has its reasoning,
 * its sources, its times and how it ended.
 */

export function newConversation() {
  return { id: randomId(), turns: [] };
}

function randomId() {
  // crypto.randomUUID exists in secure contexts only; a page on a LAN address is none.
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What a model is sent: all turns that say something. */
export function messages({ turns }) {
  return turns.filter(({ content }) => content).map(({ role, content }) => ({ role, content }));
}

/** A turn as a request names it, where the server keeps the conversation. */
export function message({ role, content, id }) {
  return { role, content, id };
}

export function newQuestion(text) {
  return { role: "user", content: text, id: randomId() };
}

/** An answer without content. `ending` is empty until it ends; `began` is a time in milliseconds. */
export function newAnswer(model = "") {
  return {
    role: "assistant", content: "", reasoning: "", sources: [], usage: null, ending: "",
    model, began: Date.now(), thought: 0, seconds: 0,
  };
}

/** Add an event of a run to its answer; `text` is the text of the run so far. */
export function apply(turn, event, text) {
  const { type } = event;
  // After a reload, a run is read from its beginning, and begins with what is already shown.
  if (text.length > turn.content.length) turn.content = text;
  if (type === "run") turn.reasoning = "";
  if (type === "reasoning") turn.reasoning += event.text;
  if (type === "text" && turn.reasoning) turn.thought ||= secondsOf(turn);
  if (type === "usage") turn.usage = { ...turn.usage, ...event };
  if (type === "source-url" || type === "source-document") addSource(turn, event);
}

/** Set how an answer ended, from the outcome of its run. */
export function end(turn, { status, reason, error }) {
  Object.assign(turn, { ending: status, reason, error: error?.message ?? "", seconds: secondsOf(turn) });
}

const secondsOf = ({ began }) => (Date.now() - began) / 1000;

function addSource(turn, { id, title, url, filename }) {
  const others = turn.sources.filter((source) => source.id !== id);
  turn.sources = [...others, { id, title: title ?? filename ?? url, url, filename }];
}
