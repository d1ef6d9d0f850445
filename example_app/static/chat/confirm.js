/** Ask before something is deleted. */

import { button, make } from "./elements.js";

/** Resolves with true if `action`, the label of a button, is chosen; Escape and Cancel choose nothing. */
export function confirm({ title, text, action }) {
  const dialog = make("dialog", "confirm");
  const actions = make("div", "actions");
  actions.append(
    button("Cancel", () => dialog.close()),
    button(action, () => dialog.close("yes"), "primary"),
  );
  const heading = make("h2", "", title);
  heading.id = "confirm-title";
  dialog.setAttribute("aria-labelledby", heading.id);
  dialog.append(heading, make("p", "", text), actions);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}
