/** Bytes of a response → the pieces that the page shows: whole blocks of an event stream, as they were sent. */

export class RawFrames {
  #utf8 = new TextDecoder();
  #rest = "";
  #isEvents;

  /** `isEvents`: the body is an event stream; of any other, each chunk is a piece. */
  constructor(isEvents) {
    this.#isEvents = isEvents;
  }

  /** The pieces that these bytes complete. A comment between two blocks, such as a heartbeat, is one of its own. */
  feed(bytes) {
    const text = this.#utf8.decode(bytes, { stream: true });
    if (!this.#isEvents) return text ? [text] : [];
    this.#rest += text;
    const pieces = [];
    for (;;) {
      const separator = this.#rest.startsWith(":") ? "\n" : "\n\n";
      const end = this.#rest.indexOf(separator);
      if (end < 0) return pieces;
      if (end > 0) pieces.push(this.#rest.slice(0, end));
      this.#rest = this.#rest.slice(end + separator.length);
    }
  }
}
