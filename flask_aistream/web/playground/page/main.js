/** The page: asks a provider, and shows what happens on the connection. */

import { byId, make, perFrame, seconds } from "./elements.js";
import { Frames } from "./frames.js";
import { Live } from "./live.js";
import { NativeSession } from "./native.js";
import { PROTOCOLS } from "./protocols.js";
import { snippetsFor } from "./snippets.js";
import { Strip } from "./strip.js";
import { Timeline } from "./timeline.js";
import { WireSession } from "./wire.js";

const API = new URL("api", import.meta.url).pathname;
const PREFIX = API.slice(0, -"/playground/api".length);
const STEP = 100; // Milliseconds between two drawings of the strip, whose time goes on in silence, too.

const STATES = {
  connecting: "Connecting",
  thinking: "Waiting for the first token",
  streaming: "Streaming",
  waiting: "Connection lost, waiting",
  reconnecting: "Reconnecting",
  stopping: "Stopping",
  finished: "Finished",
  stopped: "Stopped",
  interrupted: "Interrupted: the process of the run has ended",
  failed: "Failed",
  detached: "Detached: the run goes on without this page",
};

let choices;
let live;
let asked = null; // What the snippets are made of.
let session = null;
let timeline = null;

const frames = new Frames(byId("frames"));
const strip = new Strip(byId("strip"));
const render = perFrame(show);

start().catch((error) => showState(error.message, true));

async function start() {
  const answer = await fetch(`${API}/choices`);
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error?.message ?? `The server answers ${answer.status}.`);
  choices = body;
  live = new Live(byId("live"), byId("live-note"), { api: API, page: PREFIX });
  fill(byId("provider"), choices.providers.map(({ name }) => [name, name]));
  fill(byId("protocol"), choices.protocols.map(({ name, title }) => [name, title]));
  listen();
  byId("ask").disabled = !(choices.providers.length && choices.protocols.length);
  showState(byId("ask").disabled ? "There is no provider. Decorate one: @ai.provider." : "Ready");
  readFromAddress();
}

function listen() {
  byId("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  byId("prompt").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    byId("composer").requestSubmit(byId("ask"));
  });
  document.addEventListener("keydown", ({ key }) => {
    if (key === "Escape" && session && !session.isOver) session.stop();
  });
  byId("stop").addEventListener("click", () => session.stop());
  byId("cut").addEventListener("click", () => timeline.cut());
  byId("detach").addEventListener("click", () => session.detach());
  byId("replay").addEventListener("click", () => read(session.id, Number(byId("after").value)));
  byId("provider").addEventListener("change", showPlaceholder);
  byId("snippets").addEventListener("change", showSnippet);
  byId("copy").addEventListener("click", copy);
  addEventListener("hashchange", () => {
    readFromAddress();
    byId("composer").scrollIntoView();
  });
  new ResizeObserver(render).observe(byId("strip"));
  setInterval(() => session && !session.isOver && !document.hidden && render(), STEP);
  showPlaceholder();
}

// ---- Ask, and read a run that exists.

function ask() {
  const [provider, protocol] = [byId("provider").value, chosenProtocol()];
  const prompt = byId("prompt").value || defaultPrompt() || "Hello";
  const path = PREFIX + protocol.path.replace("<provider>", provider);
  const { origin } = location;
  const chat = crypto.randomUUID?.() ?? String(Math.random()).slice(2);
  asked = { origin, prefix: PREFIX, provider, protocol: protocol.name, path, prompt, chat };
  begin(protocol, (recording) =>
    protocol.name === "native"
      ? new NativeSession(recording, { url: path, prompt }, render)
      : new WireSession(recording, protocol, startOf(asked, path), render),
  );
}

function startOf(question, url) {
  return { url, body: PROTOCOLS[question.protocol].body({ ...question, id: question.chat }), runs: runsPath() };
}

/** `after`: number of the event after which to read; -1: from the beginning. */
function read(run, after = -1) {
  const protocol = chosenProtocol();
  const cursor = after >= 0 && protocol.resumes === "cursor" ? `${run}:${after}` : undefined;
  const events = `${runsPath()}/${run}/events`;
  asked = { origin: location.origin, prefix: PREFIX, protocol: protocol.name, run, cursor };
  begin(protocol, (recording) =>
    protocol.name === "native"
      ? new NativeSession(recording, { events, cursor }, render)
      : new WireSession(recording, protocol, { run, cursor, runs: runsPath() }, render),
  );
}

/** `#run=…&protocol=…`: a link of the live view, or of another tab. */
function readFromAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  const run = given.get("run");
  if (!/^[\w-]{22}$/.test(run ?? "")) return;
  const protocol = given.get("protocol");
  if (choices.protocols.some(({ name }) => name === protocol)) byId("protocol").value = protocol;
  read(run);
}

function begin(protocol, open) {
  if (session && !session.isOver) session.detach();
  frames.clear();
  const recording = (timeline = new Timeline());
  recording.addEventListener("mark", ({ detail }) => {
    if (recording !== timeline) return; // Of the run that was left.
    frames.add(detail);
    render();
  });
  session = open(recording);
  session.protocol = protocol;
  byId("answer").textContent = "";
  fillSnippets();
  render();
}

const runsPath = () => `${PREFIX}/runs`;

const chosenProtocol = () => choices.protocols.find(({ name }) => name === byId("protocol").value);

// ---- Show.

function show() {
  if (!session) return;
  const { id, isOver, status, error, text, protocol } = session;
  showState(error ? `${STATES[status]}: ${error}` : STATES[status], status === "failed");
  showText(text);
  showFacts();
  strip.draw(timeline, isOver);
  byId("request").textContent = timeline.request;
  byId("stop").disabled = isOver || status === "stopping" || !(id || protocol.name === "native");
  byId("cut").disabled = isOver || !timeline.isConnected;
  byId("detach").disabled = isOver || !id || !protocol.resumes;
  byId("detach").title = protocol.resumes ? "Stop reading, and let the run go on" : "Leaving stops a run of this protocol";
  byId("replay").disabled = !id;
  byId("after").disabled = protocol.resumes !== "cursor";
  byId("tab").hidden = !id || !protocol.resumes;
  if (id) {
    byId("tab").href = `#run=${id}&protocol=${protocol.name}`;
    live.add(id);
  }
}

function showState(sentence, isProblem = false) {
  const state = byId("state");
  if (state.textContent !== sentence) state.textContent = sentence;
  state.classList.toggle("problem", isProblem);
}

/** Only what is new enters the page, so that a selection in the text before it stays. */
function showText(text) {
  const pane = byId("answer");
  const shown = pane.textContent;
  if (shown === text) return;
  const isAtEnd = pane.scrollTop + pane.clientHeight > pane.scrollHeight - 24;
  if (text.startsWith(shown)) pane.append(text.slice(shown.length));
  else pane.textContent = text;
  if (isAtEnd) pane.scrollTop = pane.scrollHeight;
}

function showFacts() {
  const { bytes, frames: count, heartbeats, connections, gap, opened, first } = timeline.facts;
  const facts = [
    ["Response", opened && seconds(opened)],
    ["First token", first && seconds(first)],
    ["Longest gap", count > 1 ? seconds(gap) : undefined],
    ["Frames", count],
    ["Bytes", bytes.toLocaleString("en")],
    ["Heartbeats", heartbeats],
    ["Reconnects", Math.max(connections - 1, 0)],
  ];
  byId("facts").replaceChildren(
    ...facts.map(([name, value]) => make("div", {}, make("dt", { text: name }), make("dd", { text: value ?? "–" }))),
  );
}

function showPlaceholder() {
  byId("prompt").placeholder = defaultPrompt() || "Ask something";
}

function defaultPrompt() {
  return choices.providers.find(({ name }) => name === byId("provider").value)?.default_prompt;
}

function fill(select, options) {
  select.replaceChildren(...options.map(([value, text]) => make("option", { value, text })));
}

// ---- Copy as.

function fillSnippets() {
  const before = byId("snippets").value;
  const found = snippetsFor(asked, choices.protocols.map(({ name }) => name));
  fill(byId("snippets"), found.map(({ name, title }) => [name, title]));
  if (found.some(({ name }) => name === before)) byId("snippets").value = before;
  byId("snippets").disabled = byId("copy").disabled = false;
  showSnippet();
}

function showSnippet() {
  const chosen = snippetsFor(asked, choices.protocols.map(({ name }) => name));
  byId("snippet").textContent = chosen.find(({ name }) => name === byId("snippets").value)?.make(asked) ?? "";
}

async function copy() {
  const button = byId("copy");
  try {
    await navigator.clipboard.writeText(byId("snippet").textContent);
    button.textContent = "Copied";
  } catch {
    // Without HTTPS there is no clipboard: the text is selected for Ctrl+C.
    getSelection().selectAllChildren(byId("snippet"));
    button.textContent = "Selected";
  }
  setTimeout(() => (button.textContent = "Copy"), 1500);
}
