/** Types of `aistream.js`, the client of flask_aistream. Times are seconds. */

export type Status =
  | "connecting"
  | "streaming"
  | "reconnecting"
  | "finished"
  | "stopped"
  | "failed"
  | "interrupted"
  | "detached";

/** Why a run ended. "unknown": that it has ended is all that could be learned. */
export type Reason =
  | "stop"
  | "length"
  | "tool-calls"
  | "content-filter"
  | "other"
  | "stopped"
  | "error"
  | "interrupted"
  | "unknown";

export interface RunError {
  /** Stable, for programs: the server's, or one of `ClientErrorCode`, or `http_<status>`. */
  code: string;
  message: string;
  /** HTTP status, where the fault was an HTTP answer. */
  status?: number;
}

export type ClientErrorCode = "connection_lost" | "stream_broken" | "not_resumable";

export interface Usage {
  input_tokens?: number;
  output_tokens?: number;
  reasoning_tokens?: number;
  cached_tokens?: number;
}

export interface Links {
  events: string;
  stop: string;
}

export type Json = string | number | boolean | null | Json[] | { [name: string]: Json };

export interface EventTypes {
  run: { type: "run"; run: string; provider: string; events?: string; stop?: string };
  text: { type: "text"; text: string };
  reasoning: { type: "reasoning"; text: string };
  "tool-call-started": { type: "tool-call-started"; id: string; name: string };
  "tool-call-arguments": { type: "tool-call-arguments"; id: string; delta: string };
  "tool-call": { type: "tool-call"; id: string; name: string; arguments: Json };
  "tool-result": { type: "tool-result"; id: string; result: Json };
  "tool-error": { type: "tool-error"; id: string; message: string };
  "source-url": { type: "source-url"; id: string; url: string; title?: string };
  "source-document": {
    type: "source-document";
    id: string;
    title: string;
    media_type: string;
    filename?: string;
  };
  file: { type: "file"; url: string; media_type: string };
  data: { type: "data"; name: string; value: Json; id?: string };
  usage: { type: "usage" } & Usage;
  "step-started": { type: "step-started"; name: string };
  "step-finished": { type: "step-finished"; name: string };
  /** Older events were trimmed away on the server; `first` is the number of the next one. */
  gap: { type: "gap"; first: number };
  /** Always the last one. A run that was left (`detach`) has none. */
  end: { type: "end"; reason: Reason; error?: RunError };
}

export type StreamEvent = EventTypes[keyof EventTypes];

export interface StatusChange {
  status: Status;
  /** With "reconnecting": attempts without progress so far, seconds until the next, and why. */
  attempt?: number;
  wait?: number;
  error?: RunError;
}

export interface Outcome {
  status: "finished" | "stopped" | "failed" | "interrupted" | "detached";
  reason: Reason | "detached";
  text: string;
  usage?: Usage;
  /** There if, and only if, the status is "failed". */
  error?: RunError;
}

/** What the server said to a stop; `error` alone if it could not be reached or refused. */
export interface StopAnswer {
  run?: string;
  /** How the run ended, and whether this stop is the reason. */
  status?: string;
  stopped?: boolean;
  text?: string;
  usage?: Usage;
  error?: RunError;
  [name: string]: unknown;
}

export interface RunOptions {
  /** For every request; a function is called each time, so a token can be renewed. */
  headers?: HeadersInit | (() => HeadersInit | Promise<HeadersInit>);
  /** Default "same-origin". */
  credentials?: RequestCredentials;
  /** Aborting it is `detach()`. */
  signal?: AbortSignal;
  /** In place of the global one. */
  fetch?: typeof fetch;
  /** Attempts in a row without progress (default 10), first and longest wait (1, 30). */
  retry?: { attempts?: number; base?: number; max?: number };
  /** Longest time without a byte, heartbeats included. Default 45; null, 0, over an hour: no limit. */
  silence?: number | null;
  /** Name under which `resume` finds the run after a reload. */
  persist?: string;
}

export interface StreamOptions extends RunOptions {
  /** Default "POST", "GET" where there is no input. */
  method?: string;
  /** Idempotency key; a random one by default. */
  key?: string;
}

export interface AttachOptions extends RunOptions {
  /** Where to begin, as told by `run.cursor`. */
  cursor?: string | null;
}

export interface RunEvents extends EventTypes {
  status: StatusChange;
  event: StreamEvent;
}

export class Run extends EventTarget implements AsyncIterable<StreamEvent> {
  private constructor();
  readonly id: string | null;
  readonly text: string;
  readonly status: Status;
  readonly usage: Usage | undefined;
  readonly error: RunError | undefined;
  readonly links: Readonly<Links> | null;
  readonly cursor: string | null;
  readonly done: Promise<Outcome>;
  /** Ends the run on the server. Null: its end was read already, or it never came to be. */
  stop(): Promise<StopAnswer | null>;
  detach(): void;
  on<Type extends keyof RunEvents>(
    type: Type,
    listener: (detail: RunEvents[Type]) => void,
  ): () => void;
  [Symbol.asyncIterator](): AsyncGenerator<StreamEvent, void, undefined>;
}

export type Input = string | object | null;

export function stream(url: string | URL, input?: Input, options?: StreamOptions): Run;
export function attach(eventsUrl: string | URL, options?: AttachOptions): Run;
export function resume(name: string, options?: RunOptions): Run | null;

export interface Frame {
  event: string;
  data: string;
  /** The id of this very block; `lastEventId` also remembers those of earlier ones. */
  id?: string;
}

export class EventStreamParser {
  lastEventId: string;
  retry: number | null;
  feed(bytes: Uint8Array): Frame[];
}

export class AIStreamElement extends HTMLElement {
  options: StreamOptions;
  readonly run: Run | null;
  ask(prompt: string | object): Run;
  stop(): Promise<StopAnswer | null>;
}

declare global {
  interface HTMLElementTagNameMap {
    "ai-stream": AIStreamElement;
  }
}
