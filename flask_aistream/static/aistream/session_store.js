/** What a reload must not lose, in sessionStorage: unfinished runs by name, and stop requests by key. */

const START_MAX_AGE = 60; // Seconds. A tab restored days later must not send its question again.
const PREFIX = "aistream:";
const STOP = "/stop/";

/** sessionStorage may be forbidden, full, or hold another program's entries. */
export const sessionStore = {
  /** An unfinished run that can be found again, or null. */
  find(name) {
    const entry = read(name);
    const isFresh = entry?.start && Date.now() - entry.at < START_MAX_AGE * 1000;
    return isFresh || entry?.links ? entry : null;
  },
  /** Stop requests without an answer. */
  findStops() {
    try {
      const names = Object.keys(sessionStorage).filter((name) => name.startsWith(PREFIX + STOP));
      return names.map((name) => read(name.slice(PREFIX.length))).filter(Boolean);
    } catch {
      return [];
    }
  },
  write(name, entry) {
    try {
      sessionStorage.setItem(PREFIX + name, JSON.stringify(entry));
    } catch {
      // The run works without; only a reload cannot find it.
    }
  },
  remove(name, key) {
    if (read(name)?.key === key) sessionStorage.removeItem(PREFIX + name);
  },
};

export const stopName = (key) => STOP + key;

function read(name) {
  try {
    return JSON.parse(sessionStorage.getItem(PREFIX + name));
  } catch {
    return null;
  }
}

// crypto.randomUUID exists in secure contexts only; a page on a LAN address is none.
export function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
