/** Below an answer: how it ended, what it took, and what can be done with it. */

import { copyButton } from "../copy.js";
import { button, make } from "./elements.js";

const ENDINGS = {
  stopped: "Stopped.",
  interrupted: "The answer was cut off before its end.",
  failed: "Something went wrong.",
  length: "The answer reached its greatest length.",
  "content-filter": "The rest was withheld by the model's filter.",
};
const WORTH_ANOTHER_TRY = new Set(["interrupted", "failed"]);

export function footer(turn, { again }) {
  const { ending, content } = turn;
  const made = make("footer");
  const actions = make("div", "actions");
  if (content) actions.append(copyButton(() => turn.content, "Copy answer"));
  actions.append(button(WORTH_ANOTHER_TRY.has(ending) ? "Try again" : "Regenerate", again, "again"));
  for (const [className, text] of [[`ending ${ending}`, endingOf(turn)], ["figures", figures(turn)]])
    if (text) made.append(make("p", className, text));
  made.append(actions);
  return made;
}

/** A sentence, or nothing for an answer that is complete. */
export function endingOf({ ending, reason, error }) {
  return error || ENDINGS[ending] || ENDINGS[reason] || "";
}

function figures({ model, usage, seconds }) {
  return [model, tokens(usage ?? {}), seconds && `${seconds.toFixed(1)} s`].filter(Boolean).join(" · ");
}

function tokens({ input_tokens: read, output_tokens: written }) {
  return [read && `${read} tokens read`, written && `${written} written`].filter(Boolean).join(", ");
}
