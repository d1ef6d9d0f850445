// Must compile with the DOM library and React.
import { useRef } from "react";
import { useChat } from "@ai-sdk/react";
import { AIStreamTransport } from "flask-aistream/ai-sdk";
import type { AIStreamElement } from "flask-aistream/element";
import { useAIStream } from "flask-aistream/react";

export function Answer() {
  const element = useRef<AIStreamElement>(null);
  const { text, status, ask, stop } = useAIStream("/ai/chat", { persist: "answer", prompt: undefined });
  const chat = useChat({ transport: new AIStreamTransport({ api: "/ai/chat", body: { model: "m" } }) });
  element.current?.addEventListener("end", (event) => event.detail.reason.length);
  document.querySelector("ai-stream")?.run?.stop();
  return (
    <main aria-busy={status === "thinking"}>
      <ai-stream ref={element} src="/ai/chat" prompt="Hi" className="answer" />
      <p>{text}</p>
      <button onClick={() => ask("Hi")}>{chat.status}</button>
      <button onClick={stop}>Stop</button>
    </main>
  );
}
