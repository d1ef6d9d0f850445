/** A `ChatTransport` for the AI SDK's `useChat`. */

import type { ChatTransport, UIMessage } from "ai";
import type { StreamOptions } from "../aistream.js";

export interface AIStreamTransportOptions extends Omit<StreamOptions, "key" | "persist" | "method" | "keep"> {
  /** URL of a provider. Default "/ai/chat". */
  api?: string | URL | undefined;
  /** Sent with every start, beside the messages. */
  body?: Record<string, unknown> | undefined;
  /** Send approval parts, which ai 6 and 7 have. Default false: a part `data-tool-approval`. */
  approvals?: boolean | undefined;
}

export class AIStreamTransport<Message extends UIMessage = UIMessage> implements ChatTransport<Message> {
  constructor(options?: AIStreamTransportOptions);
  sendMessages: ChatTransport<Message>["sendMessages"];
  reconnectToStream: ChatTransport<Message>["reconnectToStream"];
}
