/**
 * The question of the page as code, one function for each client.
 *
 * `asked`: `{origin, prefix, provider, protocol, path, prompt}`, where `path` is that of the protocol's route. For a run
 * that was only read: `{origin, prefix, protocol, run, cursor}`, with the cursor as in an `id` field, or null.
 */

import { PROTOCOLS } from "./protocols.js";

/** `needs`: the protocols of which one must be served; `reads`: it can also read a run that exists. */
export const SNIPPETS = [
  { name: "curl", title: "curl", make: curl, needs: [], reads: true },
  { name: "aistream", title: "aistream.js", make: aistream, needs: ["native"], reads: true },
  { name: "react", title: "React: useAIStream", make: react, needs: ["native"] },
  { name: "usechat", title: "React: useChat of the AI SDK", make: useChat, needs: ["ai-sdk"] },
  { name: "python", title: "openai for Python", make: python, needs: ["openai-chat", "openai-responses"] },
  { name: "javascript", title: "openai for JavaScript", make: javascript, needs: ["openai-chat", "openai-responses"] },
  { name: "htmx", title: "htmx", make: htmx, needs: ["html"] },
];

/** The snippets for `asked`, where the server serves the protocols `served`. */
export function snippetsFor(asked, served) {
  return SNIPPETS.filter(({ needs, reads }) => {
    const isServed = !needs.length || needs.some((name) => served.includes(name));
    return isServed && (reads || !asked.run);
  });
}

export function curl(asked) {
  if (asked.run) {
    const header = asked.cursor ? ` \\\n  -H ${shell(`Last-Event-ID: ${asked.cursor}`)}` : "";
    return `curl -N ${shell(runUrl(asked, asked.protocol === "native" ? "events" : asked.protocol))}${header}\n`;
  }
  const body = JSON.stringify(PROTOCOLS[asked.protocol].body({ ...asked, id: asked.chat ?? "playground-chat-1" }));
  return `curl -N ${shell(asked.origin + asked.path)} \\
  -H 'Content-Type: application/json' \\
  -d ${shell(body)}
`;
}

export function aistream(asked) {
  const client = literal(`${asked.origin}${asked.prefix}/static/aistream.js`);
  const [name, call] = asked.run
    ? ["attach", `attach(${literal(runUrl(asked, "events"))}${asked.cursor ? `, { cursor: ${literal(asked.cursor)} }` : ""})`]
    : ["stream", `stream(${literal(providerUrl(asked))}, { prompt: ${literal(asked.prompt)} })`];
  return `import { ${name} } from ${client};

const run = ${call};
for await (const event of run) {
  if (event.type === "text") document.body.append(event.text);
}
`;
}

export function react(asked) {
  return `import { useAIStream } from "flask-aistream/react";

export function Answer() {
  const options = { prompt: ${literal(asked.prompt)} };
  const { text, status, error, stop } = useAIStream(${literal(providerUrl(asked))}, options);
  return (
    <>
      <output aria-busy={status === "thinking"}>{error?.message ?? text}</output>
      <button onClick={stop}>Stop</button>
    </>
  );
}
`;
}

export function useChat(asked) {
  return `import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport } from "ai";

const transport = new DefaultChatTransport({ api: ${literal(`${providerUrl(asked)}/ai-sdk`)} });
const question = { text: ${literal(asked.prompt)} };

export function Chat() {
  const { messages, sendMessage, status } = useChat({ transport });
  return (
    <>
      {messages.map((message) => (
        <p key={message.id}>{message.parts.map((part) => (part.type === "text" ? part.text : ""))}</p>
      ))}
      <button disabled={status !== "ready"} onClick={() => sendMessage(question)}>Ask</button>
    </>
  );
}
`;
}

export function python(asked) {
  const client = `from openai import OpenAI

client = OpenAI(base_url=${literal(`${asked.origin}${asked.prefix}/v1`)}, api_key="unused")
`;
  const [model, prompt] = [literal(asked.provider), literal(asked.prompt)];
  if (asked.protocol === "openai-responses")
    return `${client}for event in client.responses.create(model=${model}, input=${prompt}, stream=True):
    if event.type == "response.output_text.delta":
        print(event.delta, end="", flush=True)
`;
  return `${client}messages = [{"role": "user", "content": ${prompt}}]
for chunk in client.chat.completions.create(model=${model}, messages=messages, stream=True):
    print(chunk.choices[0].delta.content or "", end="", flush=True)
`;
}

export function javascript(asked) {
  const client = `import OpenAI from "openai";

const client = new OpenAI({ baseURL: ${literal(`${asked.origin}${asked.prefix}/v1`)}, apiKey: "unused" });
`;
  const [model, prompt] = [literal(asked.provider), literal(asked.prompt)];
  if (asked.protocol === "openai-responses")
    return `${client}const events = await client.responses.create({ model: ${model}, input: ${prompt}, stream: true });
for await (const event of events) {
  if (event.type === "response.output_text.delta") process.stdout.write(event.delta);
}
`;
  return `${client}const messages = [{ role: "user", content: ${prompt} }];
const chunks = await client.chat.completions.create({ model: ${model}, messages, stream: true });
for await (const chunk of chunks) process.stdout.write(chunk.choices[0].delta.content ?? "");
`;
}

export function htmx(asked) {
  const url = `${providerUrl(asked)}/html?prompt=${encodeURIComponent(asked.prompt)}`;
  return `<script src="htmx.js"></script>
<script src="sse.js"></script>
<main hx-ext="sse" sse-connect="${attribute(url)}" sse-close="done">
  <div sse-swap="message" hx-swap="beforeend"></div>
</main>
`;
}

const providerUrl = ({ origin, prefix, provider }) => `${origin}${prefix}/${provider}`;

const runUrl = ({ origin, prefix, run }, what) => `${origin}${prefix}/runs/${run}/${what}`;

/** A string of JavaScript and of Python. Without "<", it cannot end a script element. */
function literal(text) {
  return JSON.stringify(text).replaceAll("<", "\\u003c");
}

/** A word of a POSIX shell. */
function shell(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function attribute(text) {
  return text.replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;");
}
