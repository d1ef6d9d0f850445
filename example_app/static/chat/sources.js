/** The sources of an answer, as links where they have an address. */

import { make } from "./elements.js";

const MANUAL = "/manual/"; // Serves the documents that are named by a file of this project.

export function sourceList(sources) {
  const list = make("ol");
  for (const source of sources) {
    const item = make("li");
    item.append(link(source));
    list.append(item);
  }
  return [make("h3", "", "Sources"), list];
}

function link({ title, url, filename }) {
  const address = filename ? MANUAL + filename : url;
  if (!/^(https?:|\/)/.test(address ?? "")) return make("span", "", title);
  // A docstring's title names its file already.
  const made = make("a", "", filename?.endsWith(".md") ? `${filename} › ${title}` : title);
  made.href = address;
  made.title = made.textContent;
  made.target = "_blank";
  made.rel = "noopener noreferrer";
  return made;
}
