// @ag-ui/client: HttpAgent, two turns of one thread.

import { HttpAgent } from "@ag-ui/client";

import { answer, told } from "./told.mjs";

const warnings = [];
console.warn = (...args) => warnings.push(args.map(String).join(" "));

const answers = {};
for (const story of told.stories) {
  const agent = new HttpAgent({ url: `${told.url}/tell/ag-ui`, threadId: `t-${story}` });
  const events = [];
  const turn = async (text, id) => {
    agent.addMessage({ id, role: "user", content: text });
    return agent.runAgent({}, { onEvent: ({ event }) => void events.push(event) });
  };
  let error = null;
  let result = null;
  try {
    result = await turn(story, "u1");
    await turn("text", "u2");
  } catch (problem) {
    error = problem.message;
  }
  answers[story] = { messages: agent.messages, events, error, result: result?.result ?? null };
}
answer({ answers, warnings });
