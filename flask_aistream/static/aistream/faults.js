/** Why a request or a connection failed, and whether another attempt can help. */

export const LONGEST = 3600; // Seconds, of any wait: setTimeout fires at once where it overflows.

const TRY_AGAIN = [408, 425, 429];
const GATEWAY = [502, 504];
const EVENT_STREAM = "text/event-stream";

/**
 * `final`: another attempt cannot help. `wait`: seconds until it, if not the back-off; `firm`: the
 * server asked for that wait. `refused`: the server did not start the run. `early`: the client gave a
 * connection up that may have worked. `error`: for the page.
 */
export class Fault extends Error {
  constructor(code, message, { status, ...rest } = {}) {
    super(message);
    const error = { code, message, ...(status && { status }) };
    Object.assign(this, rest, { error });
  }
}

export const fatal = (code, message) => new Fault(code, message, { final: true });

export function asFault(error) {
  return error instanceof Fault ? error : new Fault("connection_lost", String(error?.message ?? error));
}

export async function httpFault(response, resuming) {
  const { status, statusText, headers } = response;
  const body = await response.text().catch(() => "");
  const explanation = parsed(body)?.error;
  const type = headers.get("Content-Type") ?? "";
  const message =
    explanation?.message ?? `The server answered ${status} (${type || "no content type"}), not an event stream.`;
  const wait = retryAfter(response);
  const firm = wait !== undefined;
  // Over plain HTTP, browsers take what came of a head that was cut off for all of it.
  const cutOff = status < 300 && status !== 204 && EVENT_STREAM.startsWith(type);
  const explained = Boolean(explanation?.code);
  return new Fault(explanation?.code ?? `http_${status}`, message, {
    final: isFinal(status, { cutOff, resuming, explained: explained && !firm }),
    // A gateway answers 502 and 504 for a server that may have started the run.
    refused: !cutOff && (explained || firm || !GATEWAY.includes(status)),
    wait,
    firm,
    status,
    // The connection of the original is aborted.
    response: new Response(body || null, { status, statusText, headers }),
  });
}

function parsed(body) {
  try {
    return JSON.parse(body);
  } catch {
    return null;
  }
}

/** `explained`: the application names the fault, and no time after which it passes. */
function isFinal(status, { cutOff, resuming, explained }) {
  if (TRY_AGAIN.includes(status)) return false;
  // The start failed before its first event, and its key leads to the failed run.
  if (status >= 500) return explained && !resuming;
  return status >= 400 || (!resuming && !cutOff);
}

function retryAfter({ headers }) {
  const value = headers.get("Retry-After");
  if (!value) return undefined;
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isNaN(seconds) ? undefined : Math.min(Math.max(seconds, 0), LONGEST);
}

export function isEventStream({ status, headers }) {
  return status === 200 && /^text\/event-stream\b/i.test(headers.get("Content-Type") ?? "");
}
