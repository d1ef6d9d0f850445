import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport } from "ai";
import { useState } from "react";
import { createRoot } from "react-dom/client";

const api = "/ai/chat/ai-sdk";
const transport = new DefaultChatTransport({ api });

function Chat({ id }) {
  const { messages, sendMessage, status, error } = useChat({ id, transport, resume: true });
  const [text, setText] = useState("");
  const send = (event) => {
    event.preventDefault();
    sendMessage({ text });
    setText("");
  };
  return (
    <form onSubmit={send}>
      {messages.map((message) => (
        <p key={message.id} className={message.role}>
          {message.parts.map((part, place) => part.type === "text" && <span key={place}>{part.text}</span>)}
        </p>
      ))}
      {error && <p role="alert">{error.message}</p>}
      <input aria-label="Message" value={text} onChange={(event) => setText(event.target.value)} />
      <button disabled={status !== "ready"}>Send</button>
      <button type="button" onClick={() => fetch(`${api}/${id}/stop`, { method: "POST" })}>
        Stop
      </button>
    </form>
  );
}

// Of at least 16 characters: a shorter id could be guessed, and then finds no run of an anonymous visitor.
const id = (sessionStorage.chat ??= crypto.randomUUID());
createRoot(document.getElementById("chat")).render(<Chat id={id} />);
