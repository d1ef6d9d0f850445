/** Ask in a dialog: before something is deleted, or for a short text. */

import { button, make } from "./elements.js";

/** Resolves with true if `action`, the label of a button, is chosen; Escape and Cancel choose nothing. */
export async function confirm({ title, text, action }) {
  return (await ask({ title, action, content: [make("p", "", text)], answer: () => true })) ?? false;
}

/** Resolves with the text that was entered; with null if it is empty, or nothing was chosen. */
export async function prompt({ title, label, value = "", action, note = "" }) {
  const field = make("input");
  field.value = value;
  field.maxLength = 40;
  field.setAttribute("aria-label", label);
  field.placeholder = label;
  const content = note ? [make("p", "", note), field] : [field];
  return ask({ title, action, content, answer: () => field.value.trim() || null });
}

function ask({ title, action, content, answer }) {
  const dialog = make("dialog", "confirm");
  const form = make("form");
  form.method = "dialog";
  const actions = make("div", "actions");
  const act = make("button", "primary", action);
  act.value = "yes";
  actions.append(
    button("Cancel", () => dialog.close()),
    act,
  );
  const heading = make("h2", "", title);
  heading.id = "confirm-title";
  dialog.setAttribute("aria-labelledby", heading.id);
  form.append(heading, ...content, actions);
  dialog.append(form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes" ? answer() : null);
    });
  });
}
