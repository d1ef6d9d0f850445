/** `<ai-stream>`. Importing this module registers the element. */

import type { Outcome, Run, StatusChange, StopAnswer, StreamOptions } from "../aistream.js";
import type { EventTypes } from "./events.js";

export interface AIStreamElementEvents {
  text: CustomEvent<EventTypes["text"]>;
  status: CustomEvent<StatusChange>;
  end: CustomEvent<Outcome>;
}

export class AIStreamElement extends HTMLElement {
  options: StreamOptions;
  readonly run: Run | null;
  ask(prompt: string | object): Run;
  stop(): Promise<StopAnswer | null>;
  addEventListener<Type extends keyof AIStreamElementEvents>(
    type: Type,
    listener: (this: AIStreamElement, event: AIStreamElementEvents[Type]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(...rest: Parameters<HTMLElement["addEventListener"]>): void;
}

/** The element's own attributes. */
export interface AIStreamAttributes {
  src: string;
  prompt?: string | undefined;
  method?: string | undefined;
  persist?: string | undefined;
}

declare global {
  interface HTMLElementTagNameMap {
    "ai-stream": AIStreamElement;
  }
}
