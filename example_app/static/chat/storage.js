/** The conversation in sessionStorage: it survives a reload, and is deleted with the tab. */

import { newConversation } from "./turns.js";

const KEY = "example_app:conversation";

export function load() {
  try {
    const found = JSON.parse(sessionStorage.getItem(KEY));
    return Array.isArray(found?.turns) ? found : newConversation();
  } catch {
    return newConversation();
  }
}

/** A conversation that the server keeps is not stored here. */
export function save(conversation) {
  if (conversation.stored) return;
  try {
    sessionStorage.setItem(KEY, JSON.stringify(conversation));
  } catch {
    // Full or forbidden: the conversation then lives as long as the page.
  }
}
