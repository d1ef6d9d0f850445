/**
 * A person who is logged in: conversations that the server keeps, for all devices of that person.
 *
 * A conversation on the page is `{id, turns, stored: true, live}`; `live` is the id of a run that is going on.
 */

import { newConversation } from "./turns.js";

export const user = document.body.dataset.user ?? null;

export const logIn = (name) => request("/login", "POST", { name });
export const logOut = () => request("/logout", "POST", {});
export const list = () => request("/conversations");
export const rename = (id, title) => request(`/conversations/${id}`, "PATCH", { title });
export const remove = (id) => request(`/conversations/${id}`, "DELETE");

export const newStored = () => ({ ...newConversation(), stored: true, live: null });

/** A conversation of the server; a new one where it has none of this id. */
export async function open(id) {
  const found = id && (await request(`/conversations/${id}`).catch(() => null));
  return found ? { ...found, stored: true } : newStored();
}

/** Resolves with the answer's JSON, or null; rejects where the server refuses. */
async function request(path, method = "GET", body = null) {
  const headers = body && { "Content-Type": "application/json" };
  const response = await fetch(path, { method, headers: headers ?? {}, body: body && JSON.stringify(body) });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status}`);
  return response.status === 204 ? null : response.json();
}
