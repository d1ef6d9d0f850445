/** Streams open to an origin: over HTTP/1.1 a browser allows six connections, in all tabs together. */

const CONNECTIONS = 6;
const ADVICE = "aistream: a run waits, all six HTTP/1.1 connections to %s are in use. Use HTTP/2 at the proxy.";

let isWarned = false;
const pages = {}; // Origin → the connections of this page, in the order of requests, and its locks.
const pageOf = (origin) => (pages[origin] ??= { open: new Set(), locks: 0 });
const originOf = (url) => new URL(url).origin;
const lockOf = (origin) => `aistream-connection:${origin}`;
const locks = () => globalThis.document && navigator.locks;

/** Count a connection. Returns a function that ends the counting. `makeRoom` calls `cede`. */
export function countConnection(url, cede) {
  const origin = originOf(url);
  const page = pageOf(origin);
  page.open.add(cede);
  let release;
  const held = new Promise((resolve) => (release = resolve));
  // A shared lock per connection is how other tabs see it, and how they take it.
  const lock = locks()?.request(lockOf(origin), { mode: "shared" }, () => held);
  page.locks += 1;
  lock?.catch(({ name }) => name === "AbortError" && cede()).finally(() => (page.locks -= 1));
  return () => {
    page.open.delete(cede);
    release();
  };
}

/** Whether a further connection must wait for a free one; warns on the console, once. */
export async function isFull(url) {
  const origin = originOf(url);
  if ((await elsewhere(origin)) + pageOf(origin).open.size < CONNECTIONS) return false;
  if (!isWarned) console.warn(ADVICE, origin);
  isWarned = true;
  return true;
}

/** Free a connection for a request that must not wait: runs give theirs up, and queue again behind it. */
export async function makeRoom(url) {
  const origin = originOf(url);
  const others = await elsewhere(origin);
  const mine = [...pageOf(origin).open];
  if (others + mine.length < CONNECTIONS) return;
  if (others > 0) await locks().request(lockOf(origin), { steal: true }, () => {}).catch(() => {});
  else for (const cede of mine.slice(CONNECTIONS - 1)) cede();
}

/** Connections of other tabs, as far as the browser tells; so few that none is full where there is no limit. */
async function elsewhere(origin) {
  if (!globalThis.document || isMultiplexed(origin)) return -Infinity;
  const own = pageOf(origin).locks; // Those that are just being released, too.
  const { held = [] } = (await locks()?.query().catch(() => null)) ?? {};
  return Math.max(held.filter(({ name }) => name === lockOf(origin)).length - own, 0);
}

function isMultiplexed(origin) {
  const isOurs = ({ name, nextHopProtocol }) => nextHopProtocol && name.startsWith(`${origin}/`);
  return /^h[23]/.test(performance.getEntries().findLast(isOurs)?.nextHopProtocol);
}
