// Must compile with strict, exactOptionalPropertyTypes, and no DOM library.
import { attach, EventStreamParser, resume, stream } from "flask-aistream";
import type { AttemptFault, RunOptions, Status, StreamEvent } from "flask-aistream";

const token: string | undefined = process.env["TOKEN"];
const options: RunOptions = {
  headers: async () => ({ Authorization: `Bearer ${token}` }),
  persist: token,
  retry: {
    max: undefined,
    decide: (fault: AttemptFault) => (fault.status === 402 ? "stop" : fault.attempt > 3 ? 60 : undefined),
  },
  keep: "text",
};

const run = resume("answer", options) ?? stream("/ai/chat", { prompt: "Hi" }, options);
run.on("text", ({ text }) => text.toUpperCase());
run.addEventListener("text", (event) => event.detail.text.toUpperCase());
run.addEventListener("status", ({ detail: { status, wait, reason } }) => [status, wait, reason]);
run.addEventListener("something-else", () => {});
const status: Status = run.status;
for await (const event of run) if (event.type === "tool-call") event.arguments;
for await (const text of run.texts({ every: "frame" })) text.toUpperCase();
const events: AsyncIterableIterator<StreamEvent> = attach("/ai/runs/r1/events", { cursor: run.cursor })[Symbol.asyncIterator]();
await events.return?.();
const frame = new EventStreamParser().feed(new Uint8Array())[0];
const id: string | undefined = frame?.id;
const body: string | undefined = await run.response?.text();
export { body, id, status };

// @ts-expect-error The names of events are known.
run.on("txt", () => {});
// @ts-expect-error So are the fields of their details.
run.addEventListener("text", (event) => event.detail.txt);
