/**
 * A `ChatTransport` for the AI SDK's `useChat`, over the native protocol: a lost connection is resumed
 * at the cursor, and a reload finds the run.
 *
 * Source: npm `ai` 5, 6 and 7 (`ChatTransport`, `uiMessageChunkSchema`, `processUIMessageStream`).
 */

import { resume, stream } from "../aistream.js";

const nameOf = (chat) => `ai-sdk:${chat}`;

export class AIStreamTransport {
  #options;

  /** `options`: those of `stream`, `api` (a provider's URL), `body` (sent with every start) and `approvals` (ai 6 or newer). */
  constructor(options = {}) {
    this.#options = options;
  }

  async sendMessages({ chatId, messages, abortSignal, headers, body }) {
    const { api = "/ai/chat", body: always, approvals, ...options } = this.#options;
    const decisions = decisionsOf(messages.at(-1));
    const input = { id: chatId, chat: chatId, messages, ...(decisions && { approvals: decisions }), ...always, ...body };
    const run = stream(api, input, { ...options, ...this.#settings(chatId, headers) });
    const last = messages.at(-1);
    return chunksOf(run, { message: last?.role === "assistant" ? last.id : null, approvals, abortSignal });
  }

  async reconnectToStream({ chatId, headers }) {
    const { api, body, approvals, ...options } = this.#options;
    const run = resume(nameOf(chatId), { ...options, ...this.#settings(chatId, headers) });
    return run && chunksOf(run, { approvals });
  }

  #settings(chatId, headers) {
    const own = this.#options.headers;
    const all = async () => [
      ...new Headers(typeof own === "function" ? await own() : own),
      ...new Headers(headers),
    ];
    return { persist: nameOf(chatId), keep: "text", headers: async () => new Headers(await all()) };
  }
}

/** The answers to approvals in the newest message, by the ids of their calls; nothing without any. */
function decisionsOf(message) {
  const answered = (message?.parts ?? []).filter(({ state }) => state === "approval-responded");
  if (answered.length === 0) return undefined;
  const decided = ({ toolCallId, approval: { approved, reason } }) => [toolCallId, { approved, ...(reason && { reason }) }];
  return Object.fromEntries(answered.map(decided));
}

/** The chunks of a run; what its abort signal aborts is stopped. */
function chunksOf(run, { message, approvals, abortSignal }) {
  const events = run[Symbol.asyncIterator]();
  const encoder = new ChunkEncoder(message, approvals);
  const stop = () => run.stop();
  if (abortSignal?.aborted) stop();
  abortSignal?.addEventListener("abort", stop, { once: true });
  return new ReadableStream({
    async pull(controller) {
      for (let sent = false; !sent; ) {
        const { value, done } = await events.next();
        if (done) return controller.close();
        for (const chunk of encoder.encode(value, run)) {
          controller.enqueue(chunk);
          sent = true;
        }
      }
    },
    cancel() {
      events.return();
      run.detach();
    },
  });
}

/** Events → chunks, in the order that the AI SDK requires: what is named was opened before. */
class ChunkEncoder {
  #message;
  #approvals;
  #started = false;
  #step = false;
  #span = null;
  #spans = 0;
  #calls = new Set();

  constructor(message, approvals) {
    this.#message = message;
    this.#approvals = approvals;
  }

  *encode(event, run) {
    const { type, ...rest } = event;
    if (type !== "run" || rest.run) yield* this.#start(rest.run ?? run.id);
    if (type === "text" || type === "reasoning") yield* this.#delta(type, rest.text);
    else if (type.startsWith("tool-call")) yield* this.#call(type, rest);
    else if (type === "tool-approval") yield* this.#approval(rest);
    else if (type === "tool-result" && this.#isKnown(rest.id))
      yield { type: "tool-output-available", toolCallId: rest.id, output: rest.result };
    else if (type === "tool-error" && this.#isKnown(rest.id))
      yield { type: "tool-output-error", toolCallId: rest.id, errorText: rest.message };
    else if (PARTS[type]) {
      yield* this.#open();
      yield PARTS[type](rest);
    } else if (type === "step-started") {
      yield* this.#close();
      yield* this.#open();
    } else if (type === "step-finished") yield* this.#close();
    else if (type === "gap") yield { type: "data-gap", data: rest };
    else if (type === "end") {
      yield* this.#close();
      yield* ending(event, run.usage);
    }
  }

  *#start(run) {
    if (this.#started) return;
    this.#started = true;
    yield { type: "start", messageId: this.#message ?? `msg_${run}` };
  }

  *#delta(span, delta) {
    if (this.#span !== span) {
      yield* this.#closeSpan();
      yield* this.#open();
      this.#span = span;
      this.#spans += 1;
      yield { type: `${span}-start`, id: this.#id };
    }
    yield { type: `${span}-delta`, id: this.#id, delta };
  }

  get #id() {
    return `${this.#span[0]}${this.#spans}`;
  }

  *#call(type, { id, name, arguments: input, delta }) {
    if (type === "tool-call-arguments") {
      if (this.#calls.has(id)) yield { type: "tool-input-delta", toolCallId: id, inputTextDelta: delta };
      return;
    }
    yield* this.#closeSpan(); // Text after the call is a part of its own.
    yield* this.#open();
    const call = { toolCallId: id, toolName: name };
    if (type === "tool-call") yield { type: "tool-input-available", ...call, input };
    else if (!this.#calls.has(id)) yield { type: "tool-input-start", ...call };
    this.#calls.add(id);
  }

  *#approval(call) {
    yield* this.#call("tool-call", call);
    const { id } = call;
    if (this.#approvals) yield { type: "tool-approval-request", approvalId: id, toolCallId: id };
    else yield { type: "data-tool-approval", id, data: { toolCallId: id } }; // ai 5 rejects a chunk that it does not know.
  }

  /** Whether the client's message has this call; one that the run continues may have any. */
  #isKnown(id) {
    return Boolean(this.#message) || this.#calls.has(id);
  }

  *#open() {
    if (!this.#step) yield { type: "start-step" };
    this.#step = true;
  }

  *#closeSpan() {
    if (this.#span) yield { type: `${this.#span}-end`, id: this.#id };
    this.#span = null;
  }

  *#close() {
    yield* this.#closeSpan();
    if (this.#step) yield { type: "finish-step" };
    this.#step = false;
  }
}

const PARTS = {
  "source-url": ({ id, url, title }) => ({ type: "source-url", sourceId: id, url, ...(title && { title }) }),
  "source-document": ({ id, media_type, title, filename }) => ({
    type: "source-document",
    sourceId: id,
    mediaType: media_type,
    title,
    ...(filename && { filename }),
  }),
  file: ({ url, media_type }) => ({ type: "file", url, mediaType: media_type }),
  data: ({ name, id, value }) => ({ type: `data-${name}`, ...(id && { id }), data: value }),
};

const FINISH_REASONS = new Set(["stop", "length", "content-filter", "tool-calls", "error"]);

function* ending({ reason, error }, usage) {
  const messageMetadata = usage && { usage: usageOf(usage) };
  if (["stopped", "error", "interrupted"].includes(reason)) {
    if (messageMetadata) yield { type: "message-metadata", messageMetadata };
    if (reason === "stopped") yield { type: "abort" };
    else yield { type: "error", errorText: error?.message ?? "The server went away before the answer was complete." };
    return;
  }
  const finishReason = FINISH_REASONS.has(reason) ? reason : "other";
  yield { type: "finish", finishReason, ...(messageMetadata && { messageMetadata }) };
}

function usageOf({ input_tokens, output_tokens, reasoning_tokens, cached_tokens }) {
  const counts = {
    inputTokens: input_tokens,
    outputTokens: output_tokens,
    reasoningTokens: reasoning_tokens,
    cachedInputTokens: cached_tokens,
  };
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count !== undefined));
}
