// The AI SDK without a page: its transport and its reader.

import { answer, told, user } from "./told.mjs";

const names = { "5.0": "ai50", 5: "ai5", 6: "ai6", 7: "ai" };
const { DefaultChatTransport, readUIMessageStream } = await import(names[told.version]);

const answers = {};
for (const story of told.stories) {
  const api = `${told.url}/tell/ai-sdk${told.query ?? ""}`;
  const stream = await new DefaultChatTransport({ api }).sendMessages({
    chatId: `${told.version}-${story}`,
    messages: [user(story)],
    trigger: "submit-message",
  });
  const errors = [];
  let message = null;
  const reading = readUIMessageStream({ stream, onError: (error) => errors.push(error.message) });
  try {
    for await (const state of reading) message = state;
  } catch (error) {
    errors.push(`thrown: ${error.message}`);
  }
  answers[story] = { message, errors };
}
answer(answers);
