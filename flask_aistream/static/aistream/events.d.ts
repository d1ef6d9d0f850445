/** What a run says. These types need no library of the browser's. */

export type Json = string | number | boolean | null | Json[] | { [name: string]: Json };

/** Why a run ended. "unknown": nothing tells why. */
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

export type ClientErrorCode =
  | "connection_lost"
  | "stream_broken"
  | "not_resumable"
  | "headers_failed"
  | "decide_failed"
  | "request_invalid"
  | "request_blocked";

export interface Usage {
  input_tokens?: number;
  output_tokens?: number;
  reasoning_tokens?: number;
  cached_tokens?: number;
}

export interface EventTypes {
  run: { type: "run"; run: string; provider: string; events?: string; stop?: string };
  text: { type: "text"; text: string };
  reasoning: { type: "reasoning"; text: string };
  "tool-call-started": { type: "tool-call-started"; id: string; name: string };
  "tool-call-arguments": { type: "tool-call-arguments"; id: string; delta: string };
  "tool-call": { type: "tool-call"; id: string; name: string; arguments: Json };
  /** A call that a person has to approve: the next request of the chat has `approvals: { [id]: true }`, or false. */
  "tool-approval": { type: "tool-approval"; id: string; name: string; arguments: Json };
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
