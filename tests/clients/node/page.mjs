// A document for React, and a component that uses a chat.

import { JSDOM } from "jsdom";

const { window } = new JSDOM("<div id=root></div>", { url: "http://127.0.0.1/" });
globalThis.window = window;
globalThis.document = window.document;
globalThis.HTMLElement = window.HTMLElement;

const { createElement } = await import("react");
const { createRoot } = await import("react-dom/client");

// Renders what `use` returns as JSON, and keeps the latest in `seen.value`.
export function mount(use) {
  const seen = { value: null, rendered: null };
  const place = document.createElement("div");
  document.body.append(place);
  function Page() {
    seen.value = use();
    seen.renders = (seen.renders ?? 0) + 1;
    return createElement("output", null, seen.value.completion ?? textOf(seen.value.messages));
  }
  const root = createRoot(place);
  root.render(createElement(Page));
  seen.text = () => place.textContent;
  seen.unmount = () => root.unmount();
  return seen;
}

export function textOf(messages) {
  const last = messages?.findLast((message) => message.role === "assistant");
  return last ? last.parts.filter((part) => part.type === "text").map((part) => part.text).join("") : "";
}
