// useChat, rendered: the whole way from a click to the page.

import { mount, textOf } from "./page.mjs";
import { answer, told, until } from "./told.mjs";

const packages = { 5: ["ai5", "react5"], 6: ["ai6", "react6"], 7: ["ai", "@ai-sdk/react"] };
const [ai, react] = packages[told.version];
const {
  DefaultChatTransport,
  TextStreamChatTransport,
  lastAssistantMessageIsCompleteWithApprovalResponses,
  lastAssistantMessageIsCompleteWithToolCalls,
} = await import(ai);
const { useChat, useCompletion } = await import(react);
const api = `${told.url}/tell/ai-sdk`;

function open(id, options = {}) {
  const page = mount(() => useChat({ id, transport: new DefaultChatTransport({ api }), ...options }));
  return until(() => page.value).then(() => page);
}

const idle = (page) => () => ["ready", "error"].includes(page.value.status);

const scenarios = {
  async send() {
    const answers = {};
    for (const story of told.stories) {
      const page = await open(`send-${told.version}-${story}`);
      await page.value.sendMessage({ text: story });
      const end = told.broken.includes(story) ? "error" : "ready";
      await until(() => page.value.status === end && page.value.messages.length === 2);
      const { messages, status, error } = page.value;
      await until(() => page.text() === textOf(messages));
      answers[story] = { rendered: page.text(), messages, status, error: error?.message ?? null };
      page.unmount();
    }
    return answers;
  },

  // A page that is closed in the middle, and opened again.
  async resume() {
    const id = `resume-this-chat-${told.version}`;
    const first = await open(id);
    first.value.sendMessage({ text: "words-80" });
    await until(() => first.text().length > 20);
    const before = { messages: first.value.messages, text: first.text() };
    first.value.stop();
    await until(idle(first));
    first.unmount();
    const second = await open(id, { resume: true, messages: before.messages.slice(0, 1) });
    await until(() => second.value.status === "streaming");
    await until(idle(second));
    await until(() => second.text().length > before.text.length);
    const { messages, status } = second.value;
    return { before, messages, status, rendered: second.text() };
  },

  // A chat that never was.
  async fresh() {
    const page = await open(`fresh-${told.version}-${Date.now()}`, { resume: true });
    await until(() => page.renders >= 3, 2).catch(() => {});
    return { status: page.value.status, error: page.value.error?.message ?? null, messages: page.value.messages };
  },

  async stop() {
    const id = `stop-this-chat-now-${told.version}`;
    const page = await open(id);
    page.value.sendMessage({ text: "words-500" });
    await until(() => page.text().length > 20).catch(() => {
      throw new Error(`no text: ${page.value.status}, ${page.value.error}, ${JSON.stringify(page.value.messages)}`);
    });
    const stopped = await (await fetch(`${api}/${id}/stop`, { method: "POST" })).json();
    await until(idle(page));
    const again = await (await fetch(`${api}/${id}/stop`, { method: "POST" })).json();
    const rest = await fetch(`${api}/${id}/stream`);
    return { stopped, again, status: page.value.status, text: page.text(), rest: rest.status };
  },

  // A tool that the browser runs: the answer goes on in the same message.
  async tool() {
    const page = await open(`tool-${told.version}`, {
      transport: new DefaultChatTransport({ api: `${told.url}/ask/ai-sdk` }),
      sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithToolCalls,
      onToolCall: ({ toolCall }) => {
        page.value.addToolResult({ tool: toolCall.toolName, toolCallId: toolCall.toolCallId, output: "yes" });
      },
    });
    await page.value.sendMessage({ text: "May I?" });
    await until(() => idle(page)() && page.text().length > 0);
    return page.value.messages;
  },

  // A tool that a person has to approve: the next run of the chat executes it, or not.
  async approve() {
    const answers = {};
    for (const approved of told.version < 6 ? [] : [true, false]) {
      const page = await open(`approve-${told.version}-${approved}`, {
        transport: new DefaultChatTransport({ api: `${told.url}/shop/ai-sdk?version=${told.version}` }),
        sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses,
      });
      const tool = () => page.value.messages.at(-1)?.parts.find(({ type }) => type === "tool-pay");
      await page.value.sendMessage({ text: "Buy" });
      await until(() => page.value.status === "ready" && tool()?.state === "approval-requested");
      await page.value.addToolApprovalResponse({ id: tool().approval.id, approved, reason: "So be it" });
      await until(() => idle(page)() && page.text().includes("aid."));
      answers[approved] = { messages: page.value.messages, text: page.text(), status: page.value.status };
      page.unmount();
    }
    return answers;
  },

  async refused() {
    const page = await open(`refused-${told.version}`);
    await page.value.sendMessage({ text: "refused" });
    await until(() => page.value.status === "error");
    return { status: page.value.status, error: page.value.error.message };
  },

  async text() {
    const transport = new TextStreamChatTransport({ api: `${told.url}/tell/text` });
    const page = await open(`text-${told.version}`, { transport });
    await page.value.sendMessage({ text: "text" });
    await until(() => idle(page)() && page.text());
    const broken = await open(`broken-${told.version}`, { transport });
    await broken.value.sendMessage({ text: "failed" });
    await until(() => broken.value.status === "error");
    return { text: page.text(), broken: { status: broken.value.status, text: broken.text() } };
  },

  async completion() {
    const answers = {};
    for (const streamProtocol of ["data", "text"]) {
      const path = streamProtocol === "data" ? "ai-sdk" : "text";
      const options = { api: `${told.url}/tell/${path}`, streamProtocol, id: `${path}-${told.version}` };
      const page = mount(() => useCompletion(options));
      await until(() => page.value);
      await page.value.complete("tools");
      await until(() => page.text() && !page.value.isLoading);
      answers[streamProtocol] = page.text();
    }
    return answers;
  },
};

const answers = {};
for (const [name, play] of Object.entries(scenarios)) {
  try {
    answers[name] = await play();
  } catch (error) {
    answers[name] = { thrown: error.stack };
  }
}
answer(answers);
