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
    // The agent refuses a run that leaves an interrupt open.
    const resume = agent.pendingInterrupts.map((it) => ({ interruptId: it.id, status: "cancelled" }));
    return agent.runAgent({ ...(resume.length && { resume }) }, { onEvent: ({ event }) => void events.push(event) });
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
// A tool that a person has to approve.
const approvals = {};
for (const approved of [true, false]) {
  const agent = new HttpAgent({ url: `${told.url}/shop/ag-ui`, threadId: `approve-${approved}` });
  agent.addMessage({ id: "u1", role: "user", content: "Buy" });
  await agent.runAgent();
  const interrupts = agent.pendingInterrupts;
  const resume = interrupts.map(({ id }) => ({ interruptId: id, status: "resolved", payload: { approved } }));
  await agent.runAgent({ resume });
  approvals[approved] = { interrupts, messages: agent.messages, pending: agent.pendingInterrupts };
}
answer({ answers, approvals, warnings });
