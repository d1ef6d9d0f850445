/** Buttons that copy text: one for a given text, and those that the Markdown page adds to code. */

const SHOWN = 2000; // Milliseconds for which a button says that it has copied.

/** `text`: a function that returns what is copied. `name`: what a screen reader calls the button. */
export function copyButton(text, name) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = "Copy";
  made.setAttribute("aria-label", name);
  made.addEventListener("click", () => copy(text(), made));
  return made;
}

// Code is drawn again while it grows, so its buttons have no listeners of their own.
document.addEventListener("click", ({ target }) => {
  const button = target.closest?.(".code button");
  if (button) copy(button.closest(".code").querySelector("pre").textContent, button);
});

async function copy(text, button) {
  const done = await write(text);
  button.textContent = done ? "Copied" : "Not copied";
  setTimeout(() => (button.textContent = "Copy"), SHOWN);
}

async function write(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return writeSelected(text); // Outside secure contexts there is no navigator.clipboard.
  }
}

function writeSelected(text) {
  const focused = document.activeElement;
  const field = document.createElement("textarea");
  field.className = "unseen";
  field.value = text;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  focused?.focus();
  return done;
}
