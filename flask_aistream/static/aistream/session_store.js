/** Runs that a reload can find again, in sessionStorage; and the keys they were started under. */

const START_MAX_AGE = 60; // Seconds. A tab restored days later must not send its question again.

/** sessionStorage may be forbidden, full, or hold another program's entries. */
export const sessionStore = {
  read(name) {
    try {
      const entry = JSON.parse(sessionStorage.getItem(`aistream:${name}`));
      const fresh = entry?.start && Date.now() - entry.at < START_MAX_AGE * 1000;
      return fresh || entry?.links ? entry : null;
    } catch {
      return null;
    }
  },
  write(name, entry) {
    try {
      sessionStorage.setItem(`aistream:${name}`, JSON.stringify(entry));
    } catch {
      // The run works without; only a reload cannot find it.
    }
  },
  remove(name, key) {
    if (this.read(name)?.key === key) sessionStorage.removeItem(`aistream:${name}`);
  },
};

// crypto.randomUUID exists in secure contexts only; a page on a LAN address is none.
export function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
