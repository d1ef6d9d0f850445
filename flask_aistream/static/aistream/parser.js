/**
 * Bytes of an event stream → frames, however the bytes are cut.
 *
 * Source: WHATWG HTML, "Parsing an event stream" and "Interpreting an event stream".
 */

const STREAMING = { stream: true };

/** A block that the end of the stream cuts off is never dispatched. */
export class EventStreamParser {
  lastEventId = "";
  retry = null;
  #utf8 = new TextDecoder(); // Drops one leading BOM.
  #afterCr = false;
  #rest = "";
  #event = "";
  #data;
  #id;

  /** The frames these bytes complete: `{event, data, id}`, `id` only where the block has its own. */
  feed(bytes) {
    let text = this.#utf8.decode(bytes, STREAMING);
    const frames = [];
    if (text === "") return frames;
    // A CR that ended the last piece was a line end; the LF after it belongs to it.
    if (this.#afterCr && text[0] === "\n") text = text.slice(1);
    this.#afterCr = text.endsWith("\r");
    let start = 0;
    for (let cr = text.indexOf("\r"); ; ) {
      if (cr !== -1 && cr < start) cr = text.indexOf("\r", start);
      const lf = text.indexOf("\n", start);
      const atCr = cr !== -1 && (lf === -1 || cr < lf);
      const end = atCr ? cr : lf;
      if (end === -1) break;
      this.#line(text, start, end, frames);
      start = atCr && lf === cr + 1 ? lf + 1 : end + 1;
    }
    if (start < text.length) this.#rest += text.slice(start);
    return frames;
  }

  #line(text, start, end, frames) {
    if (this.#rest !== "") {
      text = this.#rest + text.slice(start, end);
      [this.#rest, start, end] = ["", 0, text.length];
    }
    if (start === end) this.#dispatch(frames);
    // The two fields of a text frame, without a copy of the line.
    else if (text.startsWith("data: ", start)) this.#addData(text.slice(start + 6, end));
    else if (text.startsWith("id: ", start)) this.#setId(text.slice(start + 4, end));
    else this.#field(text.slice(start, end));
  }

  #field(line) {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (name === "data") this.#addData(value);
    else if (name === "event") this.#event = value;
    else if (name === "id") this.#setId(value);
    else if (name === "retry" && /^\d+$/.test(value)) this.retry = Number(value);
  }

  #addData(value) {
    this.#data = this.#data === undefined ? value : `${this.#data}\n${value}`;
  }

  #setId(value) {
    if (!value.includes("\0")) this.#id = value;
  }

  #dispatch(frames) {
    const id = this.#id;
    if (id !== undefined) this.lastEventId = id;
    if (this.#data !== undefined) frames.push({ event: this.#event || "message", data: this.#data, id });
    this.#event = "";
    this.#data = this.#id = undefined;
  }
}
