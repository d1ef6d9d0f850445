// What every test finds on its page.
import * as ai from "/ai/static/aistream.js";
import "/ai/static/aistream/element.js";

window.ai = ai;
window.faults = [];
addEventListener("error", (event) => faults.push(event.message));
addEventListener("unhandledrejection", (event) => faults.push(String(event.reason)));

/** Short enough for a test, long enough to be seen. Seconds. */
window.quick = { retry: { attempts: 5, base: 0.02, max: 0.2 } };

/** Everything a run says, and how it ended. */
window.read = async (run) => {
  const events = [];
  for await (const event of run) events.push(event);
  return { events, ...(await run.done), shown: run.text, now: run.status, id: run.id };
};

/** The statuses a run goes through, from now on. */
window.watch = (run) => {
  const seen = [];
  run.on("status", ({ status }) => seen.push(status));
  return seen;
};

/** The longest time between two events of a type, in seconds, from now on. */
window.pauses = (target, type) => {
  const pauses = { longest: 0 };
  let last = performance.now();
  target.addEventListener(type, () => {
    const now = performance.now();
    pauses.longest = Math.max(pauses.longest, (now - last) / 1000);
    last = now;
  });
  return pauses;
};

window.until = async (asks) => {
  while (!asks()) await new Promise((resolve) => setTimeout(resolve, 5));
};
