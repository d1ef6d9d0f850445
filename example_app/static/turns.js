/**
 * The conversation as data: a turn is `{role, content}`, an answer also has its reasoning, its
 * sources and how it ended. It is kept in the tab, so it survives a reload and no longer than that.
 */
const KEY = "example_app:conversation";

export function load() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY)) ?? [];
  } catch {
    return [];
  }
}

export function save(conversation) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(conversation));
  } catch {
    // Full or forbidden: the conversation then lives as long as the page.
  }
}

/** What a model is sent: all turns that say something. */
export function messages(conversation) {
  return conversation.filter(({ content }) => content).map(({ role, content }) => ({ role, content }));
}

/** An answer that has not said anything. `ending` is empty as long as there is none. */
export function blank() {
  return { role: "assistant", content: "", reasoning: "", sources: [], usage: null, ending: "" };
}

/** Add an event of a run to its answer; `text` is all that the run has said. */
export function apply(turn, event, text) {
  // Read again from its beginning after a reload, a run says first what is already shown.
  if (text.length > turn.content.length) turn.content = text;
  if (event.type === "run") turn.reasoning = "";
  if (event.type === "reasoning") turn.reasoning += event.text;
  if (event.type === "usage") turn.usage = { ...turn.usage, ...event };
  if (event.type === "source-url" || event.type === "source-document") addSource(turn, event);
}

function addSource(turn, { id, title, url, filename }) {
  const others = turn.sources.filter((source) => source.id !== id);
  turn.sources = [...others, { id, title: title ?? filename ?? url, url, filename }];
}
