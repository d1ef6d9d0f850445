/** A run as a React hook, and `<ai-stream>` for JSX. */

import type { DetailedHTMLProps, HTMLAttributes } from "react";
import type { Input, Run, RunError, Status, StopAnswer, StreamOptions, Usage } from "../aistream.js";
import type { AIStreamAttributes, AIStreamElement } from "./element.js";

export interface UseAIStreamOptions extends StreamOptions {
  /** Asked once, when the component mounts. */
  prompt?: Input | undefined;
}

export interface AIStreamState {
  text: string;
  /** "idle": nothing was asked yet. */
  status: Status | "idle";
  usage: Usage | undefined;
  error: RunError | undefined;
  run: Run | null;
  ask(input: Input, options?: StreamOptions): Run;
  stop(): Promise<StopAnswer | null>;
}

export function useAIStream(url: string | URL, options?: UseAIStreamOptions): AIStreamState;

declare module "react" {
  namespace JSX {
    interface IntrinsicElements {
      "ai-stream": DetailedHTMLProps<HTMLAttributes<AIStreamElement>, AIStreamElement> &
        AIStreamAttributes;
    }
  }
}
