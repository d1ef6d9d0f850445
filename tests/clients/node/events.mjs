// npm eventsource and @microsoft/fetch-event-source on the native protocol.

import { EventSource } from "eventsource";

import "./page.mjs";
import { answer, told } from "./told.mjs";

window.fetch = fetch;
const { fetchEventSource } = await import("@microsoft/fetch-event-source");

function listen(story) {
  const source = new EventSource(`${told.url}/tell?prompt=${story}`);
  return new Promise((resolve, reject) => {
    let text = "";
    const ids = [];
    source.onmessage = ({ data, lastEventId }) => {
      const payload = JSON.parse(data);
      ids.push(lastEventId);
      text += payload.text ?? "";
      if (payload.action === "terminate") {
        source.close();
        resolve({ text, ids: ids.length, reason: payload.reason });
      }
    };
    source.onerror = (error) => reject(new Error(error.message));
  });
}

// Never closes: the 204 after the end does.
function listenOn(story) {
  const source = new EventSource(`${told.url}/tell?prompt=${story}`);
  return new Promise((resolve) => {
    let text = "";
    source.onmessage = ({ data }) => (text += JSON.parse(data).text ?? "");
    source.onerror = () => source.readyState === EventSource.CLOSED && resolve(text);
  });
}

async function post(story) {
  let text = "";
  let empty = 0;
  await fetchEventSource(`${told.url}/tell`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ prompt: story }),
    openWhenHidden: true,
    onmessage({ data, event }) {
      if (!data) empty += 1;
      else if (!event) text += JSON.parse(data).text ?? "";
    },
    onerror(error) {
      throw error;
    },
  });
  return { text, empty };
}

const answers = {};
for (const story of told.stories) answers[story] = { listened: await listen(story), posted: await post(story) };
answer({ answers, left: await listenOn("text") });
