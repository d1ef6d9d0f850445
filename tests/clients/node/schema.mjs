// The AI SDK's own schema of stream chunks, in each major version, on the transcripts of all stories.

import { readFileSync, readdirSync } from "node:fs";

import { answer, told } from "./told.mjs";

const names = { 5: "ai5", 6: "ai6", 7: "ai" };

async function validate(schema, value) {
  const { asSchema } = await import("@ai-sdk/provider-utils");
  return asSchema(schema).validate(value);
}

const found = {};
for (const [version, name] of Object.entries(names)) {
  const { uiMessageChunkSchema } = await import(name);
  const faults = [];
  let chunks = 0;
  for (const file of readdirSync(told.folder)) {
    for (const line of readFileSync(`${told.folder}/${file}`, "utf8").split("\n")) {
      if (!line.startsWith("data: ") || line === "data: [DONE]") continue;
      chunks += 1;
      const result = await validate(uiMessageChunkSchema, JSON.parse(line.slice(6)));
      if (!result.success) faults.push(`${file}: ${line}: ${result.error.message}`);
    }
  }
  found[version] = { chunks, faults };
}
answer(found);
