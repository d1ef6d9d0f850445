/** The chat page: makes its parts, and tells each what the others do. */

import * as account from "./account.js";
import { Announcer } from "./announcer.js";
import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { confirm, prompt } from "./confirm.js";
import { endingOf } from "./footer.js";
import { follow, toTheEnd } from "./scroll.js";
import { Sidebar } from "./sidebar.js";
import { StatusLine } from "./status.js";
import { load, save } from "./storage.js";
import { newConversation } from "./turns.js";

const [log, welcome, composerForm, status, announcements, model] = [
  "log", "welcome", "composer", "status", "announcements", "model",
].map((id) => document.getElementById(id));

const chat = new Chat(log, { save, model: () => model?.value });
const composer = new Composer(composerForm, { ask: (text) => chat.ask(text), halt: () => chat.stop() });
const statusLine = new StatusLine(status);
const announcer = new Announcer(announcements);

chat.addEventListener("status", ({ detail }) => statusLine.show(detail));
chat.addEventListener("change", () => {
  welcome.hidden = chat.conversation.turns.length > 0;
  log.classList.toggle("busy", chat.isBusy);
  composer.setBusy(chat.isBusy);
});
chat.addEventListener("begin", () => {
  toTheEnd();
  announcer.say("Answering…");
});
chat.addEventListener("end", ({ detail: { turn, view } }) =>
  announcer.say([view.spoken, endingOf(turn)].filter(Boolean).join("\n")),
);

const sidebar =
  account.user && new Sidebar(document.getElementById("conversations"), { open: openStored, removed: onRemoved });

/** Show a conversation of the server, with the answer that another device may be reading. */
async function openStored(id) {
  const conversation = await account.open(id);
  location.hash = conversation.id;
  chat.show(conversation);
  toTheEnd();
  await sidebar.show(conversation.id);
}

function onRemoved(id) {
  if (id !== chat.conversation.id) return;
  chat.stop();
  chat.show(account.newStored());
}

/** Another device may have asked meanwhile. */
async function refresh() {
  if (chat.isBusy || document.hidden) return;
  const { id, turns } = chat.conversation;
  const now = await account.open(id);
  if (chat.isBusy || chat.conversation.id !== id || now.id !== id) return;
  const said = (turns) => JSON.stringify(turns.map(({ content }) => content));
  if (now.live || said(now.turns) !== said(turns)) chat.show(now);
  await sidebar.show(id);
}

if (sidebar) {
  chat.addEventListener("begin", () => (location.hash = chat.conversation.id));
  // By then the server has created the conversation of a first question.
  chat.addEventListener("status", ({ detail }) => detail?.status === "streaming" && sidebar.show(chat.conversation.id));
  chat.addEventListener("end", () => sidebar.show(chat.conversation.id));
  addEventListener("focus", refresh);
  document.addEventListener("visibilitychange", refresh);
}

async function enter() {
  const note = "There is no password: whoever enters this name sees these conversations.";
  const name = await prompt({ title: "Log in by name", label: "Name", action: "Log in", note });
  if (!name) return;
  await account.logIn(name);
  location.reload();
}

async function leave() {
  await account.logOut();
  location.assign(location.pathname);
}

async function startNewChat() {
  if (sidebar) {
    history.replaceState(null, "", location.pathname);
    chat.show(account.newStored());
    sidebar.show(chat.conversation.id);
    composer.focus();
    return;
  }
  const isEmpty = chat.conversation.turns.length === 0;
  if (isEmpty || (await confirmDelete())) {
    chat.stop();
    chat.show(newConversation());
    chat.save();
  }
  composer.focus();
}

function confirmDelete() {
  return confirm({
    title: "Delete this conversation?",
    text: "It is stored only in this tab. An answer that is still going is stopped.",
    action: "Delete",
  });
}

document.getElementById("new").addEventListener("click", startNewChat);
document.getElementById("enter")?.addEventListener("click", enter);
document.getElementById("leave")?.addEventListener("click", leave);
for (const question of welcome.querySelectorAll("button")) {
  question.addEventListener("click", () => {
    chat.ask(question.textContent);
    composer.focus();
  });
}
addEventListener("pagehide", () => chat.save());

if (sidebar) await openStored(location.hash.slice(1));
else chat.show(load());
follow(log);
