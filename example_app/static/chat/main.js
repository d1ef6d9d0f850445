/** The chat page: makes its parts, and tells each what the others do. */

import { Announcer } from "./announcer.js";
import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { confirm } from "./confirm.js";
import { endingOf } from "./footer.js";
import { follow, toTheEnd } from "./scroll.js";
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

async function startNewChat() {
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
for (const question of welcome.querySelectorAll("button")) {
  question.addEventListener("click", () => {
    chat.ask(question.textContent);
    composer.focus();
  });
}
addEventListener("pagehide", () => chat.save());

chat.show(load());
follow(log);
