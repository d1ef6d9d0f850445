// Node's own http module, as the plain tutorial does it: writeHead, then write for each token.
import http from "node:http";

const TOKENS = Array.from({ length: 1000 }, (_, number) => `t${number} `);
const HEADERS = { "Content-Type": "text/event-stream", "Cache-Control": "no-cache" };

const readers = [];
const freed = [];

// CLOCK_MONOTONIC in seconds, as in the client.
const now = () => Number(process.hrtime.bigint()) / 1e9;
const frame = (number) => `id: ${number}\ndata: ${JSON.stringify({ text: TOKENS[number % 1000] })}\n\n`;

// Calls send(number) for each token at the requested pace, then end().
function speak({ mode, n, rate }, send, end) {
  let number = 0;
  const start = now();
  const paces = {
    flat() {
      while (number < n) send(number++);
      end();
    },
    tick() {
      if (number === n) return end();
      send(number++);
      return setImmediate(paces.tick);
    },
    paced() {
      while (number < n && start + number / rate <= now()) send(number++);
      if (number === n) return end();
      return setTimeout(paces.paced, Math.max(0, (start + number / rate - now()) * 1000));
    },
    silent() {
      send(number++);
      setTimeout(() => { send(number++); end(); }, rate * 1000);
    },
  };
  paces[mode]();
}

const routes = {
  "/stream"(plan, request, response) {
    response.writeHead(200, HEADERS);
    if (plan.mode === "silent") response.on("close", () => freed.push([plan.i, now()]));
    speak(plan, (number) => response.write(frame(number)), () => response.end());
  },
  "/fan"(plan, request, response) {
    response.writeHead(200, HEADERS);
    response.write(": hello\n\n");
    readers.push(response);
  },
  "/go"(plan, request, response) {
    response.end("ok");
    const send = (number) => {
      const block = frame(number);
      for (const reader of readers) reader.write(block);
    };
    speak(plan, send, () => readers.forEach((reader) => reader.end()));
  },
  "/freed"(plan, request, response) {
    response.end(JSON.stringify(freed));
  },
};

const server = http.createServer((request, response) => {
  const url = new URL(request.url, "http://localhost");
  const asked = Object.fromEntries(url.searchParams);
  const plan = { mode: asked.mode ?? "flat", n: Number(asked.n ?? 1), rate: Number(asked.rate ?? 50), i: Number(asked.i ?? 0) };
  routes[url.pathname](plan, request, response);
});
server.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });
