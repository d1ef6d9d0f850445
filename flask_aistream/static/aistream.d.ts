/** Types of `aistream.js`, the client of flask_aistream. Times are seconds. */

import type { EventTypes, Reason, RunError, StreamEvent, Usage } from "./aistream/events.js";

export type * from "./aistream/events.js";
export { EventStreamParser, type Frame } from "./aistream/parser.js";

export type Status =
  | "connecting"
  /** The server has accepted the request, and nothing but the run's name has come yet. */
  | "thinking"
  | "streaming"
  | "waiting"
  | "reconnecting"
  | "stopping"
  | "finished"
  | "stopped"
  | "failed"
  | "interrupted"
  | "detached";

export interface Links {
  events: string;
  stop: string;
}

export interface StatusChange {
  status: Status;
  /** With "waiting": why; attempts without progress so far, seconds until the next, and the fault. */
  reason?: "network" | "server" | "connections";
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

/** The server's answer to a stop; `error` alone if the server refused or was not reached. */
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

/** Why an attempt failed, for `retry.decide`. */
export interface AttemptFault extends RunError {
  /** Attempts without progress so far. */
  attempt: number;
  /** Whether the client would give up. */
  final: boolean;
  /** Seconds that the server asks to wait. */
  wait: number | undefined;
  /** A copy of the answer, where it was not an event stream, its body unread. */
  response: Response | undefined;
}

type Verdict = "retry" | "stop" | number | undefined | void;

export interface RetryOptions {
  /** Attempts in a row without progress. Default 10. */
  attempts?: number | undefined;
  /** First wait. Default 1. */
  base?: number | undefined;
  /** Longest wait. Default 30. */
  max?: number | undefined;
  /** Called for each fault. Seconds: wait so long, then retry. Undefined: the client's own rule. */
  decide?: ((fault: AttemptFault) => Verdict | Promise<Verdict>) | undefined;
}

export type HeaderValues = Headers | Record<string, string> | [string, string][];

/** An undefined option is the default. */
export interface RunOptions {
  /** For every request. A function is called each time, and once more after a 401; limit 10 s. */
  headers?: HeaderValues | (() => HeaderValues | Promise<HeaderValues>) | undefined;
  /** Default "same-origin". */
  credentials?: "omit" | "same-origin" | "include" | undefined;
  /** Aborting it is `detach()`. */
  signal?: AbortSignal | undefined;
  /** In place of the global one. */
  fetch?: typeof fetch | undefined;
  retry?: RetryOptions | undefined;
  /** Longest time without a byte, heartbeats included. Default 45; null, 0, over an hour: no limit. */
  silence?: number | null | undefined;
  /** Name under which `resume` finds the run after a reload. */
  persist?: string | undefined;
  /** "text": keep no events, so that a loop begins with those to come. Default "events". */
  keep?: "events" | "text" | undefined;
}

export interface StreamOptions extends RunOptions {
  /** Default "POST", "GET" where there is no input. */
  method?: string | undefined;
  /** Idempotency key; a random one by default. */
  key?: string | undefined;
}

export interface AttachOptions extends RunOptions {
  /** Where to begin, as given by `run.cursor`. */
  cursor?: string | null | undefined;
}

export interface RunEvents extends EventTypes {
  status: StatusChange;
  event: StreamEvent;
}

/** What a listener receives: a `CustomEvent` with a typed `detail`. */
export type RunEvent<Detail> = Event & { readonly detail: Detail };

type RunListener<Detail> =
  | ((event: RunEvent<Detail>) => void)
  | { handleEvent(event: RunEvent<Detail>): void }
  | null;

type ListenerOptions =
  | boolean
  | { once?: boolean; passive?: boolean; capture?: boolean; signal?: AbortSignal };

export class Run extends EventTarget implements AsyncIterable<StreamEvent> {
  private constructor();
  readonly id: string | null;
  readonly text: string;
  readonly status: Status;
  readonly usage: Usage | undefined;
  readonly error: RunError | undefined;
  /** A copy of the last answer that was not an event stream, its body unread. */
  readonly response: Response | undefined;
  readonly links: Readonly<Links> | null;
  readonly cursor: string | null;
  readonly done: Promise<Outcome>;
  /** Ends the run on the server. Null: its end was read already, or it was never started. */
  stop(): Promise<StopAnswer | null>;
  detach(): void;
  on<Type extends keyof RunEvents>(
    type: Type,
    listener: (detail: RunEvents[Type]) => void,
  ): () => void;
  addEventListener<Type extends keyof RunEvents>(
    type: Type,
    listener: RunListener<RunEvents[Type]>,
    options?: ListenerOptions,
  ): void;
  addEventListener(...rest: Parameters<EventTarget["addEventListener"]>): void;
  removeEventListener<Type extends keyof RunEvents>(
    type: Type,
    listener: RunListener<RunEvents[Type]>,
    options?: ListenerOptions,
  ): void;
  removeEventListener(...rest: Parameters<EventTarget["removeEventListener"]>): void;
  /** The text as it comes, in pieces of a frame or of so many seconds. Holds nothing back. */
  texts(options?: { every?: "frame" | number | undefined }): AsyncIterableIterator<string>;
  [Symbol.asyncIterator](): AsyncIterableIterator<StreamEvent>;
}

export type Input = string | object | null;

export function stream(url: string | URL, input?: Input, options?: StreamOptions): Run;
export function attach(eventsUrl: string | URL, options?: AttachOptions): Run;
export function resume(name: string, options?: RunOptions): Run | null;
