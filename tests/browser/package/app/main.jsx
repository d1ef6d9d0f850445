import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import "flask-aistream/element";
import { useAIStream } from "flask-aistream/react";

function Answer() {
  const { text, status, ask } = useAIStream("/ai/chat", { prompt: "Hi" });
  return (
    <main>
      <output data-status={status}>{text}</output>
      <button onClick={() => ask("Again")}>Again</button>
    </main>
  );
}

createRoot(document.getElementById("root")).render(
  <StrictMode>
    <Answer />
    <ai-stream src="/ai/element" prompt="Hello"></ai-stream>
  </StrictMode>,
);
