/** Waits that can be cut short, limits on promises, and the state of network and page. */

export const offline = () => globalThis.navigator?.onLine === false;
export const hidden = () => globalThis.document?.visibilityState === "hidden";

export function deferred() {
  const it = {};
  it.promise = new Promise((resolve) => (it.resolve = resolve));
  return it;
}

export const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

/** The next frame; a page that is not drawn has none. */
export function nextFrame() {
  if (!globalThis.requestAnimationFrame || hidden()) return sleep(0.05);
  return new Promise((resolve) => requestAnimationFrame(resolve));
}

/** Seconds before the next attempt: doubling, jittered so that clients do not return in step. */
export function backoff({ base, max }, failures) {
  const full = Math.min(max, Math.max(base, 0.01) * 2 ** Math.max(failures - 1, 0));
  return full * (0.5 + Math.random() / 2);
}

/** `promise`, or `late()` after so many seconds. */
export function within(seconds, promise, late) {
  let timer;
  const limit = new Promise((resolve) => (timer = setTimeout(resolve, seconds * 1000)));
  return Promise.race([promise, limit.then(late)]).finally(() => clearTimeout(timer));
}

/** Call `wake(online)` when the network or the page is back, until `signal` aborts. */
export function onWake(wake, signal) {
  const listen = (target, type, act) => target?.addEventListener?.(type, act, { signal });
  listen(globalThis, "online", () => wake(true));
  listen(globalThis, "pageshow", () => wake());
  listen(globalThis, "focus", () => wake());
  listen(globalThis.document, "visibilitychange", () => hidden() || wake());
}

export class Delays {
  #all = new Set();

  /** Resolves with true after so many seconds; with false once `end` cuts it short, with null by force. */
  wait(seconds, firm = false) {
    return new Promise((resolve) => {
      const finish = (ran) => {
        clearTimeout(timer);
        this.#all.delete(delay);
        resolve(ran);
      };
      const delay = { firm, finish };
      const timer = setTimeout(finish, seconds * 1000, true);
      this.#all.add(delay);
    });
  }

  /** End all of them; the firm ones only by force. */
  end(force = false) {
    for (const { firm, finish } of [...this.#all]) if (force || !firm) finish(force ? null : false);
  }
}
