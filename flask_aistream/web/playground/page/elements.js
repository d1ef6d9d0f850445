/** Elements of the page. */

export const byId = (id) => document.getElementById(id);

export function make(name, { class: className, text, ...properties } = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

/** Call `draw` at most once per animation frame; nothing is drawn while the page is hidden. */
export function perFrame(draw) {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      draw();
    });
  };
}

export function seconds(value, digits = 2) {
  return value < 1 ? `${Math.round(value * 1000)} ms` : `${value.toFixed(digits)} s`;
}
