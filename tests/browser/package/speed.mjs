// What a token costs in the client, in units of eventsource-parser + JSON.parse.
// `node speed.mjs` prints it as JSON on the last line; a page of a browser calls `measure`.
const TOKENS = 100_000;
const ROUNDS = 7;

/** Chunks as a fast provider's: many frames each. */
function chunksOf(perChunk) {
  const encoder = new TextEncoder();
  const frames = ['id: r1:0\nevent: run\ndata: {"run":"r1","provider":"chat"}\n\n'];
  for (let n = 1; n <= TOKENS; n++) frames.push(`id: r1:${n}\ndata: {"text":"token ${n % 1000}"}\n\n`);
  frames.push(`id: r1:${TOKENS + 1}\ndata: {"action":"terminate","reason":"stop"}\n\n`);
  const chunks = [];
  for (let at = 0; at < frames.length; at += perChunk)
    chunks.push(encoder.encode(frames.slice(at, at + perChunk).join("")));
  return chunks;
}

const bodyOf = (chunks) => {
  let next = 0;
  return new ReadableStream({
    pull: (it) => (next < chunks.length ? it.enqueue(chunks[next++]) : it.close()),
  });
};

async function theirs(chunks, { createParser }) {
  let text = "";
  const utf8 = new TextDecoder();
  const parser = createParser({ onEvent: ({ data }) => (text += JSON.parse(data).text ?? "") });
  const reader = bodyOf(chunks).getReader();
  for (let it; !(it = await reader.read()).done; ) parser.feed(utf8.decode(it.value, { stream: true }));
  return text;
}

async function ours(chunks, { stream }) {
  const headers = { "Content-Type": "text/event-stream" };
  const fetch = async () => new Response(bodyOf(chunks), { headers });
  const outcome = await stream("http://x/ai/chat", "Hi", { fetch, keep: "text" }).done;
  return outcome.text;
}

/** `clock`: microseconds. */
export async function measure(clients, clock) {
  const ratios = {};
  for (const perChunk of [1, 20]) {
    const chunks = chunksOf(perChunk);
    const best = { theirs: Infinity, ours: Infinity };
    for (let round = 0; round < ROUNDS; round++)
      for (const [name, read] of Object.entries({ theirs, ours })) {
        const before = clock();
        const text = await read(chunks, clients);
        best[name] = Math.min(best[name], (clock() - before) / TOKENS);
        if (text.length < TOKENS) throw new Error("text is missing");
      }
    ratios[perChunk] = { ...best, ratio: best.ours / best.theirs };
  }
  return ratios;
}

if (globalThis.process) {
  const [{ createParser }, { stream }] = await Promise.all(["eventsource-parser", "flask-aistream"].map((it) => import(it)));
  const used = () => {
    const { user, system } = process.cpuUsage();
    return user + system;
  };
  console.log(JSON.stringify(await measure({ createParser, stream }, used)));
}
