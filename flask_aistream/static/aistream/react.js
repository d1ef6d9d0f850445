/** A run as a React hook. */

import { useCallback, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import { resume, stream } from "../aistream.js";
import { nextFrame } from "./delays.js";

const IDLE = Object.freeze({ text: "", status: "idle", usage: undefined, error: undefined });
const NO_RUN = { subscribe: () => () => {}, get: () => IDLE };

/**
 * `ask(input)` starts a run in place of the one shown, which is stopped. `options` are those of
 * `stream`, and `prompt`: asked when the component mounts. A component that unmounts stops its run;
 * with `persist` it leaves the run, and mounting again finds it.
 *
 * In StrictMode, where effects run twice, one request is sent.
 */
export function useAIStream(url, { prompt, ...options } = {}) {
  const latest = useRef(null);
  const current = useRef(null);
  const [run, setRun] = useState(null);
  latest.current = { url, options: { keep: "text", ...options } };

  const show = useCallback((next) => {
    current.current = next;
    setRun(next);
    return next;
  }, []);
  const ask = useCallback(
    (input, more) => {
      const { url, options } = latest.current;
      current.current?.stop();
      return show(stream(url, input, { ...options, ...more }));
    },
    [show],
  );
  const stop = useCallback(() => current.current?.stop() ?? Promise.resolve(null), []);

  useEffect(() => {
    const { persist } = latest.current.options;
    const found = persist ? resume(persist, latest.current.options) : null;
    if (found) show(found);
    else if (prompt !== undefined) ask(prompt);
    return () => {
      if (persist) current.current?.detach();
      else current.current?.stop();
    };
    // The prompt is asked once; `ask` asks for another.
  }, [ask, show]);

  const { subscribe, get } = useMemo(() => (run ? observe(run) : NO_RUN), [run]);
  const state = useSyncExternalStore(subscribe, get, () => IDLE);
  return { ...state, run, ask, stop };
}

/** What a run shows, as a store that changes at most once per frame. */
function observe(run) {
  const take = () => ({ text: run.text, status: run.status, usage: run.usage, error: run.error });
  let state = take();
  let pending = false;
  const subscribe = (changed) => {
    const update = () => {
      pending = false;
      state = take();
      changed();
    };
    const soon = () => {
      if (!pending) nextFrame().then(update);
      pending = true;
    };
    const ends = [run.on("text", soon), run.on("usage", soon), run.on("status", update)];
    update();
    return () => ends.forEach((end) => end());
  };
  return { subscribe, get: () => state };
}
