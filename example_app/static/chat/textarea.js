/** Text fields that grow with their text, and in which Enter sends. */

/** Call `send` for Enter without Shift; an Enter that accepts a composed word sends nothing. */
export function sendOnEnter(field, send) {
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || composes(event)) return;
    event.preventDefault();
    send();
  });
}

/**
 * Whether a key belongs to a word that is being composed (Chinese, Japanese, Korean).
 * Safari ends the composition before it reports the key, and gives the key the code 229.
 */
export function composes(event) {
  return event.isComposing || event.keyCode === 229;
}

/** Make a field as high as its text. */
export function fit(field) {
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
}
