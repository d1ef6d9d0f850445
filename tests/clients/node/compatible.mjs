// The AI SDK with a provider as its model (@ai-sdk/openai-compatible).

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";

import { answer, told } from "./told.mjs";

const model = createOpenAICompatible({ name: "flask", baseURL: `${told.url}/v1`, includeUsage: true })("tell");

const answers = {};
for (const prompt of told.stories) {
  const errors = [];
  const result = streamText({ model, prompt, maxRetries: 0, onError: ({ error }) => errors.push(error.message) });
  const parts = [];
  for await (const part of result.fullStream) parts.push(part);
  const of = (type) => parts.filter((part) => part.type === type);
  const finish = of("finish")[0] ?? {};
  answers[prompt] = {
    errors,
    text: of("text-delta").map((part) => part.text).join(""),
    reasoning: of("reasoning-delta").map((part) => part.text).join(""),
    calls: of("tool-call").map((part) => [part.toolName, part.input]),
    finish: finish.finishReason ?? null,
    usage: finish.totalUsage ?? null,
  };
}
answer({ answers, whole: (await generateText({ model, prompt: "text" })).text });
