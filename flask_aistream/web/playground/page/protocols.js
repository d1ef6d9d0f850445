/** How each protocol is asked, and where the text is in its frames. */

const message = (content) => ({ role: "user", content });

/** Name of a protocol → `body` of a start, and `text` of a frame `{event, data}`. */
export const PROTOCOLS = {
  native: {
    body: ({ prompt }) => ({ prompt }),
    text: ({ event, data }) => (event === "message" ? (parsed(data).text ?? "") : ""),
  },
  "ai-sdk": {
    body: ({ prompt, id }) => ({
      id,
      messages: [{ id: "m1", role: "user", parts: [{ type: "text", text: prompt }] }],
      trigger: "submit-message",
    }),
    text: ({ data }) => delta(data, "text-delta"),
  },
  "openai-chat": {
    body: ({ provider, prompt }) => ({ model: provider, messages: [message(prompt)], stream: true }),
    text: ({ data }) => parsed(data).choices?.[0]?.delta?.content ?? "",
  },
  "openai-responses": {
    body: ({ provider, prompt }) => ({ model: provider, input: prompt, stream: true }),
    text: ({ data }) => delta(data, "response.output_text.delta"),
  },
  "ag-ui": {
    body: ({ prompt, id }) => ({
      threadId: id,
      runId: "r1",
      messages: [{ id: "m1", ...message(prompt) }],
      tools: [],
      context: [],
      state: {},
      forwardedProps: {},
    }),
    text: ({ data }) => delta(data, "TEXT_MESSAGE_CONTENT"),
  },
  html: {
    body: ({ prompt }) => ({ prompt }),
    // No element of it enters the page.
    text: ({ event, data }) =>
      event === "message" ? new DOMParser().parseFromString(data, "text/html").body.textContent : "",
  },
  text: {
    body: ({ prompt }) => ({ prompt }),
    text: ({ data }) => data,
  },
};

function delta(data, type) {
  const event = parsed(data);
  return event.type === type ? event.delta : "";
}

function parsed(data) {
  try {
    return JSON.parse(data) ?? {};
  } catch {
    return {}; // `[DONE]`.
  }
}
