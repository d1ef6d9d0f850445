/** Streams open to an origin: over HTTP/1.1 a browser allows six connections, in all tabs together. */

const CONNECTIONS = 6;
const ADVICE =
  "aistream: a run waits, because all six connections that browsers open to %s over HTTP/1.1 are in use. " +
  "HTTP/2 at the proxy lifts the limit.";

const counts = new Map();
const warned = new Set();
const nameOf = (url) => `aistream-connection:${new URL(url).origin}`;
const locks = () => (globalThis.document ? globalThis.navigator?.locks : undefined);

/** Count a connection. Returns a function that ends the counting. */
export function countConnection(url) {
  const name = nameOf(url);
  counts.set(name, (counts.get(name) ?? 0) + 1);
  let release = () => {};
  const held = new Promise((resolve) => (release = resolve));
  // A shared lock per connection is how other tabs see it.
  locks()?.request(name, { mode: "shared" }, () => held).catch(() => {});
  return () => {
    counts.set(name, counts.get(name) - 1);
    release();
  };
}

/** Whether a further connection must wait for a free one; warns on the console, once per origin. */
export async function isFull(url) {
  const name = nameOf(url);
  const { origin } = new URL(url);
  if (!globalThis.document || isMultiplexed(origin)) return false;
  const held = (await locks()?.query().catch(() => null))?.held ?? [];
  const elsewhere = held.filter((lock) => lock.name === name).length;
  if (Math.max(elsewhere, counts.get(name) ?? 0) < CONNECTIONS) return false;
  if (!warned.has(origin)) console.warn(ADVICE, origin);
  warned.add(origin);
  return true;
}

function isMultiplexed(origin) {
  const entries = ["navigation", "resource"].flatMap((type) => performance.getEntriesByType(type));
  const ours = entries.filter(({ name }) => name.startsWith(`${origin}/`));
  return /^h[23]/.test(ours.findLast(({ nextHopProtocol }) => nextHopProtocol)?.nextHopProtocol ?? "");
}
