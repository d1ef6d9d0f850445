// Every state of a run × what a person, a network or a box in between does then: node matrix.mjs <stop|wake|login|end|send>
// Prints a JSON object: how many cases ran, and what did not hold.
import { TEXT, WAKES, World, always, broken, cut, emptyStream, hang, hangAfter, lose, page200, refuse, reset, setOnline, sleep, status, until } from "./world.mjs";

const ai = await import("../../../flask_aistream/static/aistream.js");

const SLOW = { base: 60, max: 60 };
const QUICK = { base: 0.01, max: 0.03, attempts: 4 };
const SLACK = 0.3; // Seconds that a loaded machine may take.
const never = () => new Promise(() => {});
const failures = [];
let cases = 0;

const ENDS_OF_RUNS = ["finished", "stopped", "interrupted", "failed", "detached"];
/** The table at the head of run.js: which status may follow which. */
const NEXT = {
  connecting: ["thinking", "waiting", "stopping", ...ENDS_OF_RUNS],
  reconnecting: ["thinking", "streaming", "waiting", "stopping", ...ENDS_OF_RUNS],
  thinking: ["streaming", "waiting", "stopping", ...ENDS_OF_RUNS],
  streaming: ["waiting", "stopping", ...ENDS_OF_RUNS],
  waiting: ["connecting", "reconnecting", "waiting", "thinking", "streaming", "stopping", ...ENDS_OF_RUNS],
  stopping: ["reconnecting", ...ENDS_OF_RUNS],
};

function start(world, options) {
  const run = ai.stream(`${world.origin}/ai/chat`, "Hi", { fetch: world.fetch, retry: QUICK, ...options });
  let last = run.status;
  run.on("status", ({ status }) => {
    if (!NEXT[last]?.includes(status)) failures.push(`${last} → ${status}`);
    last = status;
  });
  return run;
}
const within = (promise, seconds = 10) => Promise.race([promise, sleep(seconds).then(() => "never")]);

async function check(name, body) {
  cases += 1;
  const faults = [];
  try {
    await body((holds, sentence) => holds || faults.push(sentence));
  } catch (error) {
    faults.push(String(error.stack));
  }
  if (faults.length) failures.push(`${name}: ${faults.join("; ")}`);
}

// ---- Stop, in every state.

const waiting = (run) => until(() => run.status === "waiting", "waiting");
const growing = (run) => until(() => run.text.length > 5, "text");
const asked = (kind, n = 1) => (run, world) => until(() => world.count(kind) >= n, `${n} ${kind}`);
const named = (run) => until(() => run.links, "a name");
const PACED = { pace: 0.02 };

/** `sends`: requests may follow. `known`: the answer of the server has the text. `seconds`: until "stopped"; 0: at once. */
const NOTHING = { sends: false, seconds: 0 };
const ANSWERED = { sends: true, known: true, seconds: 0.4 };
const UNREACHED = { sends: true, seconds: 2.4 };

const STATES = {
  "in the same tick": { expect: NOTHING },
  "a microtask later": { reach: () => Promise.resolve(), expect: NOTHING },
  "headers are asked for": { options: { headers: never }, reach: () => sleep(0.01), expect: NOTHING },
  "headers come soon": { options: { headers: () => sleep(0.05).then(() => ({})) }, reach: () => sleep(0.01), expect: NOTHING },
  ...Object.fromEntries(
    [
      [429, { "Retry-After": "6" }], [429, {}], [503, { "Retry-After": "3600" }], [408, {}], [425, {}],
      [503, { "Retry-After": new Date(Date.now() + 1e6).toUTCString() }], [429, { "Retry-After": "soon" }],
    ].map(([code, headers]) => [
      `refused with ${code} ${Object.values(headers)}`,
      { faults: { start: always(refuse(code, headers)) }, options: { retry: SLOW }, reach: waiting, expect: NOTHING },
    ]),
  ),
  "refused, and the page decides": {
    faults: { start: always(refuse(503)) }, options: { retry: { ...SLOW, decide: never } },
    reach: (run) => until(() => run.response), expect: NOTHING,
  },
  "a box refuses with 500": { faults: { start: always(status(500)) }, options: { retry: SLOW }, reach: waiting, expect: NOTHING },
  "a box refuses with 503": { faults: { start: always(status(503)) }, options: { retry: SLOW }, reach: waiting, expect: NOTHING },
  "a gateway lost the start": {
    faults: { start: (request, answer) => (answer(), status(504)()) }, options: { retry: SLOW }, reach: waiting, expect: ANSWERED,
  },
  "the start was lost on its way": { faults: { start: reset }, options: { retry: SLOW }, reach: waiting, expect: { ...UNREACHED, seconds: 0.1 } },
  "its answer was lost": { faults: { start: lose }, options: { retry: SLOW }, reach: waiting, expect: ANSWERED },
  "its answer was lost, then refused": {
    faults: { start: [lose, refuse(429, { "Retry-After": "60" })] }, reach: (run) => until(() => run.response), expect: ANSWERED,
  },
  "the start hangs at the server": { faults: { start: hangAfter }, reach: asked("start"), expect: ANSWERED },
  "the start hangs before it": { faults: { start: hang }, reach: asked("start"), expect: { ...UNREACHED, seconds: 0.5 } },
  "the start is refused meanwhile": {
    faults: { start: () => sleep(0.05).then(refuse(429, { "Retry-After": "60" })) },
    reach: asked("start"), expect: { ...NOTHING, seconds: 0.4 },
  },
  "a head, and silence": { faults: { start: cut(0, "hang") }, reach: (run) => until(() => run.status === "thinking"), expect: ANSWERED },
  "a name, and silence": { faults: { start: cut(1, "hang") }, reach: named, expect: ANSWERED },
  "the model thinks": { world: { think: 9 }, reach: named, expect: ANSWERED },
  "text arrives": { world: PACED, reach: growing, expect: ANSWERED },
  "text, and silence": { faults: { start: cut(5, "hang") }, world: PACED, reach: growing, expect: ANSWERED },
  "between two connections": { faults: { start: cut(5, "close") }, world: PACED, options: { retry: SLOW }, reach: waiting, expect: ANSWERED },
  "the page decides about a lost connection": {
    faults: { start: cut(5, "error") }, world: PACED, options: { retry: { decide: never } }, reach: (run) => growing(run).then(() => sleep(0.1)), expect: ANSWERED,
  },
  "the resume hangs": { faults: { start: cut(5, "error"), events: always(hang) }, world: PACED, reach: asked("events"), expect: ANSWERED },
  "the resume has a head, and silence": {
    faults: { start: cut(5, "error"), events: always(cut(0, "hang")) }, world: PACED, reach: asked("events"), expect: ANSWERED,
  },
  "the resume is refused for an hour": {
    faults: { start: cut(5, "close"), events: always(refuse(503, { "Retry-After": "3600" })) }, world: PACED,
    reach: (run) => until(() => run.response), expect: ANSWERED,
  },
  "the resume waits for headers": {
    faults: { start: cut(5, "close") }, world: PACED, headers: [undefined, never, undefined], reach: (run, world) => until(() => world.asks > 1), expect: ANSWERED,
  },
  "a 204 is being checked": {
    faults: { start: cut(5, "close"), events: always(status(204)), record: always(hang) }, world: PACED, reach: asked("record"), expect: ANSWERED,
  },
  "a 204 cannot be checked": {
    faults: { start: cut(5, "close"), events: always(status(204)), record: always(status(503)) }, world: PACED, options: { retry: { base: 0.05, max: 60 } },
    reach: asked("record"), expect: ANSWERED,
  },
  "it was left": { world: PACED, reach: (run) => growing(run).then(() => run.detach()), expect: { sends: true, status: "detached", seconds: 0 } },
  "it was given up": {
    faults: { start: cut(5, "error"), events: always(reset) }, world: { pace: 0.2 }, options: { retry: { ...QUICK, attempts: 1 } },
    reach: (run) => run.done, expect: { sends: true, status: "failed", seconds: 0 },
  },
  "a listener stops at the first text": {
    world: PACED, reach: (run) => new Promise((resolve) => run.on("text", () => resolve(run.stop()))), expect: { ...ANSWERED, seconds: 0.1 },
  },
  "stop was called twice": { world: PACED, reach: (run) => growing(run).then(() => void run.stop()), expect: ANSWERED },
};

const HEARD = {
  "is lost twice": [reset, lose],
  "meets a restart": [status(502), status(503, { "Retry-After": "0" })],
  "is refused by a full server": [refuse(429, { "Retry-After": "0" })],
  "meets a fault of the server": [refuse(500)],
  "is asked to log in": [refuse(401)],
  "is answered with half a body": [broken("half")],
  "is cut in the answer": [broken("error")],
  "hangs": [hang],
  "hangs after it was heard": [hangAfter],
};
for (const [name, stop] of Object.entries(HEARD)) {
  STATES[`text arrives, and the stop ${name}`] = {
    faults: { start: cut(5, "hang"), stop }, world: PACED, options: { silence: 0.3, headers: () => ({}) }, reach: growing, expect: { ...ANSWERED, known: false, seconds: 1 },
  };
}
for (const how of ["html", "empty", "null"]) {
  STATES[`text arrives, and the stop is answered with ${how}`] = {
    faults: { start: cut(5, "hang"), stop: broken(how) }, world: PACED, reach: growing, expect: { ...ANSWERED, known: false },
  };
}
STATES["text arrives, and the stop is answered with 204"] = {
  faults: { start: cut(5, "hang"), stop: (request, answer) => (answer(), status(204)()) }, world: PACED, reach: growing, expect: { ...ANSWERED, known: false },
};

async function stopIn({ faults, world: serving = PACED, options, headers, reach, expect }, holds, isOffline = false) {
  const world = new World(faults, serving);
  world.asks = 0;
  if (headers) options = { ...options, headers: () => headers[Math.min(world.asks++, headers.length - 1)]?.() };
  const run = start(world, options);
  if (reach) await reach(run, world);
  if (isOffline) {
    setOnline(false);
    world.offline = true;
  }
  const [at, sent] = [performance.now(), world.requests.length];
  const stopped = run.stop();
  if (expect.seconds === 0) holds(run.status === (expect.status ?? "stopped"), `it is still ${run.status}`);
  const outcome = await within(run.done);
  const seconds = (performance.now() - at) / 1000;
  holds(outcome.status === (expect.status ?? "stopped"), `it ends ${outcome.status ?? outcome} ${run.error?.message ?? ""}`);
  if (expect.seconds > 0) holds(seconds <= (isOffline ? 0 : expect.seconds) + SLACK, `after ${seconds.toFixed(2)} s`);
  if (isOffline) setOnline(true);
  const answer = await within(stopped);
  holds(answer !== "never", "stop() never resolves");
  if (expect.sends) holds(!answer?.error, `the answer is ${JSON.stringify(answer)}`);
  await sleep(0.06);
  const after = world.requests.slice(sent).map(({ kind }) => kind);
  holds(!after.includes("start"), "it is started after Stop");
  if (!expect.sends) holds(after.length === 0, `it still sends ${after}`);
  if (world.run && (expect.sends || isOffline)) {
    holds(world.run.status !== "running", "the run goes on");
    holds(world.run.text.startsWith(outcome.text), "the text is not exact");
    if (expect.known && !isOffline) holds(outcome.text === world.run.text, `it has ${outcome.text.length} of ${world.run.text.length} characters`);
  }
  return world;
}

async function stop() {
  const all = Object.entries(STATES);
  const worlds = [];
  await Promise.all(all.map(([name, state]) => check(name, async (holds) => worlds.push(await stopIn(state, holds)))));
  await check("waking up after all of that", async (holds) => {
    const sent = worlds.map((world) => world.requests.length);
    for (const wake of Object.values(WAKES)) wake();
    await sleep(0.1);
    holds(worlds.every((world, n) => world.requests.length === sent[n]), "something is sent after Stop");
  });
}

// ---- Waking up, in every state.

const UNREACHABLE = { "a reset": reset, "a 502": status(502), "a page of a proxy": page200 };
const WAKING = Object.fromEntries(
  Object.entries(UNREACHABLE).flatMap(([how, fault]) => [
    ...(fault === page200 ? [] : [[`the start meets ${how}`, { faults: { start: always(fault) } }]]),
    [`the resume meets ${how}`, { faults: { start: cut(5, "close"), events: always(fault) } }],
    ...(fault === page200 ? [] : [[`the check of a 204 meets ${how}`, { faults: { start: cut(5, "close"), events: always(status(204)), record: always(fault) } }]]),
    ...(fault === page200 ? [] : [[`the stop meets ${how}`, { faults: { stop: always(fault) }, world: PACED, stops: true }]]),
    ...(fault === page200 ? [] : [[`the stop of a lost start meets ${how}`, { faults: { start: always(reset), "stop-by-key": always(fault) }, stops: true, lost: true }]]),
  ]),
);

async function wakeIn({ faults, world: serving, stops, lost }, type, holds) {
  const world = new World(faults, serving);
  const run = start(world, { retry: { base: 30, max: 30, attempts: 2 } });
  let stopped = null;
  if (stops) {
    await (lost ? waiting(run) : growing(run));
    stopped = run.stop();
    await until(() => world.count(lost ? "stop-by-key" : "stop"), "the stop");
  } else await waiting(run);
  for (let n = 0; n < 14; n++) {
    const sent = world.requests.length;
    WAKES[type]();
    await sleep(0.004);
    if (world.requests.length > sent) await sleep(0.004);
  }
  if (!stops) holds(run.status !== "failed", `it fails: ${run.error?.message}`);
  world.heal();
  await sleep(0.005);
  WAKES[type]();
  const outcome = await within(stops ? stopped : run.done, 1.5);
  holds(outcome !== "never", "it does not wake up");
  if (stops) holds(!outcome?.error, `the stop is given up: ${outcome?.error?.message}`);
  else holds(outcome.status === "finished" && outcome.text === TEXT, `it ends ${outcome.status}`);
}

async function wake() {
  // One after the other: they all hear the same page.
  for (const [name, state] of Object.entries(WAKING))
    for (const type of Object.keys(WAKES)) await check(`${name}; ${type}`, (holds) => wakeIn(state, type, holds));
  await check("a wait that the server asked for", async (holds) => {
    const world = new World({ start: always(refuse(503, { "Retry-After": "60" })) });
    const run = start(world);
    await waiting(run);
    for (let n = 0; n < 14; n++) for (const wake of Object.values(WAKES)) wake();
    await sleep(0.05);
    holds(world.count("start") === 1, "waking up ends it");
    run.detach();
  });
  for (const type of Object.keys(WAKES))
    await check(`a connection that hangs; ${type}`, async (holds) => {
      const world = new World({ start: always(hang) });
      const run = start(world, { retry: { ...QUICK, attempts: 2 }, silence: 0.12 });
      for (let n = 0; n < 6; n++) {
        await sleep(0.08); // Longer than half of `silence`: it is stale, and dropped.
        WAKES[type]();
      }
      holds(run.status !== "failed", `it fails after ${world.count("start")} attempts`);
      world.heal();
      const outcome = await within(run.done, 2);
      holds(outcome.text === TEXT, `it ends ${outcome.status}`);
    });
  for (const [name, { faults, world, options, headers, reach, expect }] of Object.entries(STATES))
    if (expect.sends && !expect.status && !/hang|silence|listener|twice|refused|cannot|checked|decides|headers|the stop/.test(name))
      await check(`offline: ${name}`, (holds) => {
        const cutOff = { "stop-by-key": [reset], stop: [reset] };
        return stopIn({ faults: { ...faults, ...cutOff }, world, options: { ...options, retry: { ...SLOW, max: 60 } }, headers, reach, expect }, holds, true);
      });
}

// ---- 401 and 403, at every request.

const TOKENS = {
  "a function": (next) => () => next(),
  "an async function": (next) => async () => next(),
  "a slow function": (next) => () => sleep(0.01).then(next),
  "an object": (next) => next(),
  nothing: () => undefined,
};
const KINDS = {
  start: {},
  events: { start: cut(5, "close") },
  record: { start: cut(5, "close"), events: status(204) },
  stop: { start: cut(5, "hang") },
  "stop-by-key": { start: lose },
};

async function login() {
  const jobs = [];
  for (const [kind, before] of Object.entries(KINDS))
    for (const [form, make] of Object.entries(TOKENS))
      for (const code of [401, 403])
        for (const times of [1, 2])
          jobs.push(
            check(`${kind}, ${times} × ${code}, headers are ${form}`, async (holds) => {
              const world = new World({ ...before, [kind]: Array(times).fill(refuse(code)) });
              let n = 0;
              const headers = make(() => ({ Authorization: `Bearer ${++n}` }));
              const isStop = kind.startsWith("stop");
              const run = start(world, { headers, retry: isStop ? SLOW : QUICK });
              if (isStop) {
                await (kind === "stop" ? growing(run) : waiting(run));
                run.stop();
              }
              const outcome = await within(run.done);
              const isAsked = code === 401 && form.includes("function");
              const passes = isAsked && times === 1;
              const lived = { stop: "finished", "stop-by-key": "stopped" }[kind]; // A run that may not be stopped is read on.
              const wanted = passes ? (isStop ? world.run.status : "finished") : (lived ?? "failed");
              holds(outcome.status === wanted, `it ends ${outcome.status}`);
              if (outcome.status === "failed") holds(outcome.error.status === code && run.response !== undefined, `the error is ${JSON.stringify(outcome.error)}`);
              const sent = world.requests.filter((request) => request.kind === kind);
              holds(sent.length === (isAsked ? 2 : 1) + (kind === "record" && passes ? 0 : 0), `${sent.length} requests`);
              const sentTokens = sent.map((request) => request.headers.get("Authorization"));
              holds(!isAsked || new Set(sentTokens).size === sentTokens.length, `the tokens are ${sentTokens}`);
            }),
          );
  await Promise.all(jobs);
}

// ---- An end that is none, at every place.

const ENDS = {
  "a 204": [status(204)],
  "three 204": Array(3).fill(status(204)),
  "a 204 for ever": [always(status(204))],
  "a page of a proxy": [page200, page200],
  "an empty stream": [emptyStream, emptyStream],
  "an end without an id": [cut(0, "ended")],
  "an end without an id, for ever": [always(cut(0, "ended"))],
  "an end without an id after three events": [cut(3, "ended"), cut(3, "ended")],
  "half an event": [cut(0, "inside"), cut(2, "inside")],
  "a 205": [status(205)],
};
const RECORDS = {
  "is read": [],
  "is cut off": [broken("half"), broken("error")],
  "is cut off for ever": [always(broken("half"))],
  "is no JSON": [always(broken("html"))],
  "is empty": [always(broken("empty"))],
  "cannot be read for ever": [always(status(503))],
  "is lost twice": [reset, reset],
};

async function end() {
  const jobs = [];
  for (const [name, events] of Object.entries(ENDS))
    for (const [what, record] of Object.entries(RECORDS))
      for (const place of [1, 5, 20, 60, 61])
        for (const pace of [0, 0.001])
          jobs.push([
            `${name} after ${place} events, the record ${what}, ${pace ? "going on" : "over"}`,
            async (holds) => {
              const world = new World({ start: cut(place, "close"), events, record }, { pace });
              const run = start(world, { retry: { ...QUICK, attempts: 6 } });
              const outcome = await within(run.done);
              const isWhole = outcome.status === "finished" && outcome.text === TEXT;
              holds(isWhole || outcome.status === "failed", `it ends ${outcome.status ?? outcome} with ${outcome.text?.length} of ${TEXT.length} characters`);
              holds(TEXT.startsWith(outcome.text), "the text is not exact");
              const isHopeless = name.includes("for ever") && (name.includes("without") || what.includes("for ever") || /no JSON|empty/.test(what));
              if (!isHopeless && pace === 0) holds(isWhole, `it ends ${outcome.status}: ${outcome.error?.message}`);
              holds(world.runs.length === 1, `${world.runs.length} generations`);
            },
          ]);
  for (let n = 0; n < jobs.length; n += 100) await Promise.all(jobs.slice(n, n + 100).map((job) => check(...job)));
}

// ---- What cannot be sent.

const UNSENDABLE = {
  "headers that throw": [{ headers: () => { throw new Error("no token"); } }, "headers_failed"],
  "headers that reject": [{ headers: async () => { throw new Error("no token"); } }, "headers_failed"],
  "headers that never come": [{ headers: never, silence: 0.05 }, "headers_failed"],
  "a bad name": [{ headers: { "bad name": "x" } }, "request_invalid"],
  "a bad value": [{ headers: () => ({ x: "a\nb" }) }, "request_invalid"],
  "a value beyond Latin-1": [{ headers: { x: "漢" } }, "request_invalid"],
  "pairs that are none": [{ headers: [["x"]] }, "request_invalid"],
  "a bad key": [{ key: "a\nb" }, "request_invalid"],
  "a bad method": [{ method: "no method" }, "request_invalid"],
  "a forbidden method": [{ method: "TRACE" }, "request_invalid"],
  "bad credentials": [{ credentials: "always" }, "request_invalid"],
  "a fetch that is no function": [{ fetch: "x" }, "request_invalid"],
};

async function send() {
  const jobs = Object.entries(UNSENDABLE).map(([name, [options, code]]) =>
    check(name, async (holds) => {
      const world = new World();
      const run = start(world, options);
      const outcome = await within(run.done, 1);
      holds(outcome.error?.code === code, `it ends ${JSON.stringify(outcome)}`);
      holds(outcome.error?.message.length > 20, "there is no sentence");
      holds(world.requests.length === 0, "it was sent");
      holds((await run.stop()) === null, "there is something to stop");
    }),
  );
  await Promise.all(jobs);
}

// ---- What the page is told while it waits, and what is made for it.

const WAITS = {
  "a lost start": [{ start: always(reset) }, "network", "connection_lost"],
  "a lost stream": [{ start: cut(5, "error"), events: always(reset) }, "network", "connection_lost"],
  "a stream that ends early": [{ start: cut(5, "close"), events: always(emptyStream) }, "network", "connection_lost"],
  "a full server": [{ start: always(refuse(429, { "Retry-After": "7" })) }, "server", "refused", 7],
  "a server that restarts": [{ start: cut(5, "close"), events: always(status(503, { "Retry-After": "9" })) }, "server", "http_503", 9],
  "a date": [{ start: always(status(503, { "Retry-After": new Date(Date.now() + 100_000).toUTCString() })) }, "server", "http_503", 99],
};

async function wait() {
  for (const [name, [faults, reason, code, seconds]] of Object.entries(WAITS))
    await check(name, async (holds) => {
      const world = new World(faults);
      const run = start(world, { retry: { base: 0.2 } });
      const details = [];
      run.on("status", (detail) => detail.status === "waiting" && details.push(detail));
      await until(() => details.some(({ error }) => error.code === code && (world.count("start") > 1 || world.count("events") || seconds)), "the fault");
      const last = details.at(-1);
      holds(last.reason === reason, `the reason is ${last.reason}`);
      holds(seconds ? Math.abs(last.wait - seconds) <= 1.1 : last.wait > 0 && last.wait <= 1, `it waits ${last.wait} s`);
      holds(last.attempt >= 1, `attempt ${last.attempt}`);
      run.detach();
    });
  await check("offline", async (holds) => {
    const world = new World({ start: cut(5, "error"), events: [reset] }, PACED);
    const run = start(world, { retry: { ...QUICK, attempts: 0 } });
    const seen = [];
    run.on("status", ({ status, reason, attempt }) => seen.push([status, reason, attempt].join(" ")));
    await growing(run);
    setOnline(false);
    await until(() => seen.includes("waiting network 0"), "waiting");
    setOnline(true);
    const outcome = await within(run.done);
    holds(outcome.status === "finished" && outcome.text === TEXT, `it ends ${outcome.status}: ${seen}`);
  });
  await check("events that nobody listens to are not made", async (holds) => {
    const { CustomEvent } = globalThis;
    const made = [];
    globalThis.CustomEvent = class extends CustomEvent {
      constructor(type, init) {
        super(type, init);
        made.push(type);
      }
    };
    const run = ai.stream("http://x/ai/chat", "Hi", { fetch: new World().fetch });
    run.addEventListener("run", () => {});
    await run.done;
    globalThis.CustomEvent = CustomEvent;
    holds(made.join() === "run", `it made ${made.length} events, such as ${made.slice(0, 3)}`);
  });
  for (const every of ["frame", 0.02])
    await check(`text ${every}`, async (holds) => {
      const run = start(new World({}, { pace: 0.005 }));
      const texts = [];
      for await (const text of run.texts({ every })) texts.push(text);
      holds(texts.join("") === TEXT, "the text is not exact");
      holds(texts.length > 1 && texts.length < 30, `${texts.length} pieces`);
    });
}

// ---- The AI SDK's transport: left and found again.

async function transport() {
  const { AIStreamTransport } = await import("../../../flask_aistream/static/aistream/ai-sdk.js");
  for (const place of [1, 5, 30])
    for (const how of ["cancel", "abort", "a reload"])
      await check(`${how} after ${place} chunks`, async (holds) => {
        const world = new World({}, { pace: 0.002 });
        const open = () => new AIStreamTransport({ api: `${world.origin}/ai/chat`, fetch: world.fetch, retry: QUICK });
        const [chatId, abort] = [`chat ${how} ${place}`, new AbortController()];
        const messages = [{ id: "m1", role: "user", parts: [{ type: "text", text: "Hi" }] }];
        const reader = (await open().sendMessages({ chatId, messages, abortSignal: abort.signal })).getReader();
        const chunks = [];
        while (chunks.length < place) chunks.push((await reader.read()).value);
        if (how === "abort") {
          abort.abort();
          for (let it; !(it = await reader.read()).done; ) chunks.push(it.value);
          holds(chunks.at(-1).type === "abort", `the last chunk is ${chunks.at(-1).type}`);
          holds(world.run.status === "stopped", `the run is ${world.run.status}`);
          holds((await open().reconnectToStream({ chatId })) === null, "it is found again");
          return;
        }
        if (how === "cancel") await reader.cancel();
        const again = await open().reconnectToStream({ chatId });
        let text = "";
        for await (const chunk of again) if (chunk.type === "text-delta") text += chunk.delta;
        holds(text === TEXT, `it has ${text.length} of ${TEXT.length} characters`);
        holds(world.count("start") === 1 && world.runs.length === 1, `${world.count("start")} starts`);
        if (how === "a reload") await reader.cancel();
      });
}

await { stop, wake, login, end, send, wait, transport }[process.argv[2]]();
console.log(JSON.stringify({ cases, failures }));
process.exit(0);
