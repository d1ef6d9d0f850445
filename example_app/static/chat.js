/**
 * The chat page: a list of turns, at most one of them a run that is still going.
 *
 * Everything about connections is left to the client: `stream` starts a run, `resume` finds it again
 * after a reload, and what the page shows follows from the run's events and status.
 */
import { resume, stream } from "/ai/static/aistream.js";
import { Answer } from "./answer.js";
import { follow, toTheEnd } from "./scroll.js";
import * as turns from "./turns.js";

const PROVIDER = "/ai/chat";
const NAME = "chat"; // What the unfinished run is kept under in this tab.

const [log, welcome, composer, question, send, stop, status] = [
  "log", "welcome", "composer", "question", "send", "stop", "status",
].map((id) => document.getElementById(id));

let conversation = turns.load();
let run = null;

function ask(text) {
  conversation.push({ role: "user", content: text });
  turns.save(conversation);
  showQuestion(text);
  toTheEnd();
  answer(stream(PROVIDER, { messages: turns.messages(conversation) }, { persist: NAME }));
}

/** Show `started` as the next turn, until it ends. `before`: what was shown of it before a reload. */
async function answer(started, before = turns.blank()) {
  run = started;
  const turn = { ...before };
  const view = new Answer(turn, tryAgain);
  log.append(view.element);
  conversation.push(turn);
  showState();
  run.on("status", ({ status }) => started === run && showStatus(status));
  try {
    for await (const event of started) {
      turns.apply(turn, event, started.text);
      view.grow();
    }
    const outcome = await started.done;
    turn.ending = outcome.status;
    turn.reason = outcome.reason;
    turn.error = outcome.error?.message ?? "";
    view.end();
  } finally {
    // An error above must not leave the page without its Send button.
    turn.ending ||= "failed";
    if (started === run) {
      run = null;
      turns.save(conversation);
      showState();
    } // Otherwise "New chat" was pressed meanwhile.
  }
}

/** The last question once more; a run that only this page lost sight of is picked up instead. */
function tryAgain() {
  if (run) return;
  dropAnswer();
  answer(resume(NAME) ?? stream(PROVIDER, { messages: turns.messages(conversation) }, { persist: NAME }));
  toQuestion();
}

function dropAnswer() {
  if (conversation.at(-1)?.role !== "assistant") return null;
  log.lastElementChild?.remove();
  return conversation.pop();
}

function newChat() {
  const left = run;
  run = null;
  left?.stop();
  conversation = [];
  turns.save(conversation);
  log.replaceChildren();
  showState();
  toQuestion();
}

// ---- What is shown.

function showQuestion(text) {
  const item = document.createElement("li");
  item.className = "asked";
  item.textContent = text;
  log.append(item);
}

const STATUS = {
  connecting: "Connecting…",
  thinking: "Answering…",
  streaming: "Answering…",
  waiting: "Connection lost. Reconnecting…",
  reconnecting: "Connection lost. Reconnecting…",
  stopping: "Stopping…",
  offline: "No network. The answer goes on when it is back.",
};

function showStatus(name) {
  const lost = name === "waiting" || name === "reconnecting";
  status.textContent = STATUS[lost && !navigator.onLine ? "offline" : name] ?? "";
  status.classList.toggle("warning", lost);
}

function showState() {
  const focused = document.activeElement;
  welcome.hidden = conversation.length > 0;
  stop.hidden = !run;
  stop.disabled = false;
  send.hidden = Boolean(run);
  showStatus(run?.status);
  // A button that goes away would take the keyboard's place with it.
  if (focused === stop || focused === send) toQuestion();
  fit();
}

function toQuestion() {
  // On a touch screen the focus would bring up the keyboard, over the answer.
  if (!matchMedia("(pointer: coarse)").matches) question.focus();
}

function fit() {
  send.disabled = !question.value.trim();
  question.style.height = "auto";
  question.style.height = `${question.scrollHeight}px`;
}

// ---- What a person does.

function submit() {
  const text = question.value.trim();
  if (!text || run) return;
  question.value = "";
  fit();
  ask(text);
}

function halt() {
  if (!run || stop.disabled) return;
  if (document.activeElement === stop) toQuestion();
  stop.disabled = true;
  status.textContent = "Stopping…";
  run.stop();
}

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});

/**
 * While a word is being composed (Chinese, Japanese, Korean), Enter accepts it and Escape cancels it.
 * Safari ends the composition before it reports the key, and marks the key with the code 229.
 */
function composes(event) {
  return event.isComposing || event.keyCode === 229;
}

question.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || composes(event)) return;
  event.preventDefault();
  submit();
});

question.addEventListener("input", fit);
stop.addEventListener("click", halt);
document.addEventListener("keydown", (event) => event.key === "Escape" && !composes(event) && halt());
document.getElementById("new").addEventListener("click", newChat);

for (const button of welcome.querySelectorAll("button")) {
  button.addEventListener("click", () => {
    ask(button.textContent);
    toQuestion();
  });
}

addEventListener("online", () => run && showStatus(run.status));
addEventListener("offline", () => run && showStatus(run.status));
addEventListener("pagehide", () => turns.save(conversation));

// ---- The page comes up, perhaps in the middle of an answer.

for (const turn of conversation) {
  if (turn.role === "user") showQuestion(turn.content);
  else log.append(new Answer(turn, tryAgain).element);
}
if (conversation.length && !conversation.at(-1).ending) goOn(resume(NAME), dropAnswer() ?? undefined);
showState();
follow(log);

/** Take up the answer that the page was left in; without its run, say that it was cut off. */
function goOn(found, before = turns.blank()) {
  if (found) return answer(found, before);
  const turn = { ...before, ending: "interrupted" };
  conversation.push(turn);
  log.append(new Answer(turn, tryAgain).element);
}
