// Clients that show a failing provider: whether each sees a failure.

import { HttpAgent } from "@ag-ui/client";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { HumanMessage } from "@langchain/core/messages";
import { ChatOpenAI } from "@langchain/openai";
import * as ai7 from "ai";
import * as ai5 from "ai5";
import * as ai6 from "ai6";
import OpenAI from "openai";

import { answer, told, user } from "./told.mjs";

console.warn = () => {};
console.error = () => {};

const model = "broken";
const baseURL = `${told.url}/v1`;
const openai = new OpenAI({ baseURL, apiKey: "none" });
const compatible = createOpenAICompatible({ name: "flask", baseURL })(model);
const sdk = createOpenAI({ baseURL, apiKey: "none" });
const responses = sdk.responses(model);

async function drain(stream) {
  for await (const _ of await stream);
}

function chat(prompt, more = {}) {
  return { model, messages: [{ role: "user", content: prompt }], ...more };
}

function langChain(useResponsesApi) {
  return new ChatOpenAI({ model, apiKey: "none", useResponsesApi, configuration: { baseURL } });
}

async function streamed(languageModel, prompt) {
  const errors = [];
  const result = ai7.streamText({ model: languageModel, prompt, onError: ({ error }) => errors.push(error) });
  await drain(result.fullStream);
  if (errors.length) throw errors[0];
}

async function uiMessages(ai, prompt) {
  const transport = new ai.DefaultChatTransport({ api: `${told.url}/${model}/ai-sdk` });
  const asked = { chatId: crypto.randomUUID(), messages: [user(prompt)], trigger: "submit-message" };
  const stream = await transport.sendMessages(asked);
  const errors = [];
  await drain(ai.readUIMessageStream({ stream, onError: (error) => errors.push(error) }));
  if (errors.length) throw errors[0];
}

async function agUI(prompt) {
  const agent = new HttpAgent({ url: `${told.url}/${model}/ag-ui` });
  agent.addMessage({ id: "u1", role: "user", content: prompt });
  let failure = null;
  await agent.runAgent({}, { onRunErrorEvent: ({ event }) => void (failure = event) });
  if (failure) throw new Error(failure.message);
}

const clients = {
  "openai chat": (prompt) => openai.chat.completions.create(chat(prompt)),
  "openai chat, streaming": (prompt) => drain(openai.chat.completions.create(chat(prompt, { stream: true }))),
  "openai chat, helper": (prompt) => openai.chat.completions.stream(chat(prompt)).finalChatCompletion(),
  "openai responses": (input) => openai.responses.create({ model, input }),
  "openai responses, streaming": (input) => drain(openai.responses.create({ model, input, stream: true })),
  "openai responses, helper": (input) => openai.responses.stream({ model, input }).finalResponse(),
  "LangChain chat": (prompt) => langChain(false).invoke([new HumanMessage(prompt)]),
  "LangChain chat, streaming": (prompt) => drain(langChain(false).stream([new HumanMessage(prompt)])),
  "LangChain responses": (prompt) => langChain(true).invoke([new HumanMessage(prompt)]),
  "LangChain responses, streaming": (prompt) => drain(langChain(true).stream([new HumanMessage(prompt)])),
  "AI SDK chat": (prompt) => ai7.generateText({ model: compatible, prompt }),
  "AI SDK chat, streaming": (prompt) => streamed(compatible, prompt),
  "AI SDK OpenAI chat, streaming": (prompt) => streamed(sdk.chat(model), prompt),
  "AI SDK responses": (prompt) => ai7.generateText({ model: responses, prompt }),
  "AI SDK responses, streaming": (prompt) => streamed(responses, prompt),
  "AI SDK 5 UI": (prompt) => uiMessages(ai5, prompt),
  "AI SDK 6 UI": (prompt) => uiMessages(ai6, prompt),
  "AI SDK 7 UI": (prompt) => uiMessages(ai7, prompt),
  "AG-UI": agUI,
};

async function outcome(client, prompt) {
  try {
    await client(prompt);
    return "complete";
  } catch (error) {
    return `failed: ${error.message}`;
  }
}

const outcomes = {};
for (const [name, client] of Object.entries(clients)) {
  for (const failure of told.failures) {
    const prompt = `${failure} ${name}`;
    outcomes[prompt] = outcome(client, prompt);
  }
}
for (const prompt of Object.keys(outcomes)) outcomes[prompt] = await outcomes[prompt];
answer(outcomes);
