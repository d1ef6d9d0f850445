// npm openai: create, .stream(), responses, and what they raise.

import OpenAI from "openai";

import { answer, told } from "./told.mjs";

const client = new OpenAI({ baseURL: `${told.url}/v1`, apiKey: "none", maxRetries: 0 });

function asking(story, more = {}) {
  return { model: "tell", messages: [{ role: "user", content: story }], ...more };
}

async function caught(promise) {
  try {
    return { value: await promise };
  } catch (error) {
    return { error: error.message, status: error.status ?? null };
  }
}

async function created(story) {
  let text = "";
  let reason = null;
  for await (const chunk of await client.chat.completions.create(asking(story, { stream: true }))) {
    text += chunk.choices[0]?.delta.content ?? "";
    reason = chunk.choices[0]?.finish_reason ?? reason;
  }
  return { text, reason };
}

async function helped(story) {
  const final = await client.chat.completions.stream(asking(story)).finalChatCompletion();
  const { content, tool_calls: calls } = final.choices[0].message;
  return { text: content ?? "", calls: (calls ?? []).map((call) => call.function) };
}

async function responded(story) {
  const types = [];
  let text = "";
  const stream = await client.responses.create({ model: "tell", input: story, stream: true });
  for await (const event of stream) {
    types.push(event.type);
    if (event.type === "response.output_text.delta") text += event.delta;
  }
  return { text, last: types.at(-1) };
}

async function responseHelped(story) {
  const final = await client.responses.stream({ model: "tell", input: story }).finalResponse();
  return { text: final.output_text, items: final.output.map((item) => item.type), status: final.status };
}

async function resumed() {
  const seen = [];
  const stream = await client.responses.create({
    model: "tell", input: "words-40", stream: true, background: true, store: true,
  });
  for await (const event of stream) {
    seen.push(event);
    if (seen.length === 12) break;
  }
  const { id } = seen[0].response;
  const rest = [];
  const asked = { stream: true, starting_after: seen.at(-1).sequence_number };
  for await (const event of await client.responses.retrieve(id, asked)) rest.push(event);
  const helper = client.responses.stream({ response_id: id, starting_after: 3 });
  return {
    numbers: [...seen, ...rest].map((event) => event.sequence_number),
    text: rest.at(-1).response.output_text ?? null,
    helped: (await helper.finalResponse()).output_text,
  };
}

const answers = {};
for (const story of told.stories) {
  answers[story] = {
    created: await caught(created(story)),
    helped: await caught(helped(story)),
    whole: await caught(
      client.chat.completions.create(asking(story)).then((it) => ({ text: it.choices[0].message.content ?? "" })),
    ),
    responded: await caught(responded(story)),
    responseHelped: await caught(responseHelped(story)),
  };
}
answer({
  answers,
  resumed: await resumed(),
  models: (await client.models.list()).data.map((model) => model.id),
  unknown: await caught(client.chat.completions.create({ ...asking("text"), model: "nobody" })),
});
