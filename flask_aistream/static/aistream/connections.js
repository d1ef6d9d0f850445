/** Streams open to an origin: over HTTP/1.1 a browser allows six connections, in all tabs together. */

const LIMIT = 6;
const ADVICE =
  "aistream: all six connections that the browser allows to %s over HTTP/1.1 are in use, so a run waits " +
  "for a free one. Serve the site over HTTP/2 at the proxy to lift the limit.";

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
  if (Math.max(elsewhere, counts.get(name) ?? 0) < LIMIT) return false;
  if (!warned.has(origin)) console.warn(ADVICE, origin);
  warned.add(origin);
  return true;
}

function isMultiplexed(origin) {
  const entries = ["navigation", "resource"].flatMap((type) => performance.getEntriesByType(type));
  const ours = entries.filter(({ name }) => name.startsWith(`${origin}/`));
  return /^h[23]/.test(ours.findLast(({ nextHopProtocol }) => nextHopProtocol)?.nextHopProtocol ?? "");
}
