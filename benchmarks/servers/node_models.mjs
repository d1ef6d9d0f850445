// Node's http module over a model: `node node_models.mjs port sdk`, or `fetch` for the response's own bytes.
import http from "node:http";

const [port, way] = process.argv.slice(2);
const upstream = process.env.UPSTREAM ?? "http://127.0.0.1:1";
const HEADERS = { "Content-Type": "text/event-stream", "Cache-Control": "no-cache" };

const textOf = {
  openai: (chunk) => chunk.choices?.[0]?.delta?.content ?? "",
  anthropic: (event) => (event.type === "content_block_delta" && event.delta.type === "text_delta" ? event.delta.text : ""),
};
const PATHS = { openai: "/v1/chat/completions", anthropic: "/v1/messages" };

async function sdk() {
  const { default: OpenAI } = await import("openai");
  const { default: Anthropic } = await import("@anthropic-ai/sdk");
  const openai = new OpenAI({ baseURL: `${upstream}/v1`, apiKey: "none", maxRetries: 0 });
  const anthropic = new Anthropic({ baseURL: upstream, apiKey: "none", maxRetries: 0 });
  return (wire, ask) => (wire === "openai" ? openai.chat.completions.create(ask) : anthropic.messages.create(ask));
}

// The response's lines, parsed by hand: what someone writes who does without the SDK.
async function* read(wire, ask) {
  const headers = { "Content-Type": "application/json", Authorization: "Bearer none", "x-api-key": "none" };
  const response = await fetch(upstream + PATHS[wire], { method: "POST", headers, body: JSON.stringify(ask) });
  const decoder = new TextDecoder();
  let rest = "";
  for await (const bytes of response.body) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith("data: ") && line !== "data: [DONE]") yield JSON.parse(line.slice(6));
    }
  }
}

const chunksOf = way === "sdk" ? await sdk() : async (wire, ask) => read(wire, ask);

async function stream(query, response) {
  const wire = query.wire ?? "openai";
  const paced = query.mode === "paced";
  const ask = {
    model: paced ? `paced-${query.rate}` : "flat",
    max_tokens: Number(query.n ?? 1),
    messages: [{ role: "user", content: "x" }],
    stream: true,
  };
  response.writeHead(200, HEADERS);
  let number = 0;
  for await (const chunk of await chunksOf(wire, ask)) {
    const text = textOf[wire](chunk);
    if (text) response.write(`id: ${number++}\ndata: ${JSON.stringify({ text })}\n\n`);
  }
  response.end();
}

const server = http.createServer((request, response) => {
  const query = Object.fromEntries(new URL(request.url, "http://localhost").searchParams);
  stream(query, response).catch(() => response.destroy());
});
server.listen({ port: Number(port), host: "127.0.0.1", backlog: 4096 });
