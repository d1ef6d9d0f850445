// The AI SDK's Chat over AIStreamTransport: answers whose connection is cut again and again.
// node chat.mjs <ai | ai6 | ai7> <server> <runs> → JSON on the last line
import { AIStreamTransport } from "flask-aistream/ai-sdk";

const [, , sdk, server, runs] = process.argv;
const { AbstractChat } = await import(sdk);

/** The state that `useChat` keeps in React. */
class State {
  status = "ready";
  error = undefined;
  messages = [];
  pushMessage = (message) => (this.messages = [...this.messages, message]);
  popMessage = () => (this.messages = this.messages.slice(0, -1));
  replaceMessage = (at, message) => (this.messages = this.messages.with(at, structuredClone(message)));
  snapshot = (value) => structuredClone(value);
}

class Chat extends AbstractChat {
  constructor(options) {
    super({ ...options, state: new State() });
  }
}

const retry = { base: 0.001, max: 0.01, attempts: 50 };
const open = (id, api) => new Chat({ id, transport: new AIStreamTransport({ api: server + api, retry }) });

const answers = [];
const waiting = [...Array(Number(runs)).keys()];
async function work() {
  for (let n; (n = waiting.shift()) !== undefined; ) {
    const chat = open(`chat-${n}`, `/cut/${n}`);
    await chat.sendMessage({ text: "Hi" });
    const { role, id, parts } = chat.messages.at(-1);
    answers.push([n, chat.status, role, id, parts.map(({ type, text }) => [type, text ?? null]), chat.error?.message]);
  }
}
await Promise.all(Array.from({ length: 8 }, work));

const stopped = open("stop", "/stop");
const sent = stopped.sendMessage({ text: "Hi" });
while (!stopped.messages.at(-1)?.parts.some(({ text }) => text?.startsWith("Hel")))
  await new Promise((resolve) => setTimeout(resolve, 5));
await stopped.stop();
await sent;

const refused = open("refused", "/refused");
await refused.sendMessage({ text: "Hi" });
console.log(JSON.stringify({ answers, stopped: stopped.status, refused: [refused.status, refused.error?.message] }));
process.exit(0);
