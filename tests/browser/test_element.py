"""``<ai-stream>``: a run as an element."""

from __future__ import annotations

import pytest

from flask_aistream.core import events as ev
from tests.browser.conftest import Page
from tests.browser.scripted import HEAD
from tests.browser.scripted import Ending
from tests.browser.scripted import Log
from tests.browser.scripted import ScriptedServer
from tests.browser.scripted import answer

HELLO = Log("Hel", "<b>lo</b>\n\u2028", ev.Finished())
TEXT = "Hel<b>lo</b>\n\u2028"

PUT = """
document.body.innerHTML = args[0];
window.el = document.querySelector("ai-stream");
window.heard = [];
for (const type of ["text", "status", "end"]) document.body.addEventListener(type, ({ type, detail }) => heard.push([type, detail]));
window.ended = new Promise((resolve) => el.addEventListener("end", ({ detail }) => resolve(detail)));
"""


def put(page: Page, markup: str) -> None:
    page.run(PUT, markup)


def test_a_prompt_in_the_markup_is_asked_and_answered(page: Page, server: ScriptedServer) -> None:
    server.play("/ai/chat", [HEAD, HELLO.frames()])
    put(page, '<ai-stream src="/ai/chat" prompt="Hi"></ai-stream>')
    outcome = page.run("return ended")
    assert (outcome["status"], outcome["text"]) == ("finished", TEXT)
    assert page.run("return el.textContent") == TEXT
    assert page.run("return el.children.length") == 0
    assert server.requests[0].json == {"prompt": "Hi"}
    heard = page.run("return heard")
    assert [type for type, _ in heard] == ["status", "status", "text", "text", "status", "end"]
    assert heard[2][1] == {"type": "text", "text": "Hel"}


def test_what_goes_on_can_be_seen_in_its_attributes(page: Page, server: ScriptedServer) -> None:
    """For style sheets (`ai-stream[status=failed]`) and for screen readers."""
    server.play("/ai/chat", answer(404, {"error": {"code": "x", "message": "X"}}))
    put(page, '<ai-stream src="/ai/chat"></ai-stream>')
    look = "return ['status', 'aria-busy', 'aria-live'].map((name) => el.getAttribute(name))"
    assert page.run(look) == [None, None, "polite"]
    assert page.run("el.ask('Hi');" + look) == ["connecting", "true", "polite"]
    assert page.run("return ended")["error"]["code"] == "x"
    assert page.run(look) == ["failed", "false", "polite"]


def test_ask_stops_the_old_run_and_shows_the_new_one(page: Page, server: ScriptedServer) -> None:
    new = Log("New", ev.Finished(), run="r2")
    server.play("/ai/chat", [HEAD, HELLO.frames(0, 2), Ending.HOLD], [HEAD, new.frames()])
    server.play(HELLO.stop_path, answer(200, {}))
    put(page, '<ai-stream src="/ai/chat" prompt="Hi"></ai-stream>')
    page.until("el.textContent")
    page.run("await el.ask({ prompt: 'Again', model: 'm' }).done")
    assert page.run("return el.textContent") == "New"
    server.wait_for(1, HELLO.stop_path)
    assert server.asked("/ai/chat")[1].json == {"prompt": "Again", "model": "m"}


def test_stop_stops(page: Page, server: ScriptedServer) -> None:
    server.play("/ai/chat", [HEAD, HELLO.frames(0, 2), Ending.HOLD])
    server.play(HELLO.stop_path, answer(200, {"status": "stopped"}))
    put(page, '<ai-stream src="/ai/chat"></ai-stream>')
    assert page.run("return el.stop()") is None
    page.run("el.ask('Hi')")
    page.until("el.textContent")
    assert page.run("return el.stop()") == {"status": "stopped"}


def test_the_method_and_more_options_are_used(page: Page, server: ScriptedServer) -> None:
    server.play("/ai/chat", [HEAD, HELLO.frames()])
    put(page, '<ai-stream src="/ai/chat" method="get"></ai-stream>')
    page.run("el.options = { headers: { Authorization: 'Bearer x' } }; await el.ask('Hi').done")
    [request] = server.requests
    assert (request.method, request.query) == ("GET", {"prompt": "Hi"})
    assert request.headers["authorization"] == "Bearer x"


def test_an_element_that_is_moved_keeps_its_run(page: Page, server: ScriptedServer) -> None:
    server.play("/ai/chat", [HEAD, HELLO.frames(0, 2), Ending.HOLD])
    put(page, '<ai-stream src="/ai/chat" prompt="Hi"></ai-stream><p></p>')
    page.until("el.textContent")
    page.run("document.querySelector('p').append(el)")
    assert page.run("return [el.run.status, el.textContent]") == ["streaming", "Hel"]
    assert len(server.requests) == 1


def test_an_element_that_is_removed_leaves_its_run_and_asks_no_second_time(
    page: Page, server: ScriptedServer
) -> None:
    server.play("/ai/chat", [HEAD, HELLO.frames(0, 2), Ending.HOLD])
    put(page, '<ai-stream src="/ai/chat" prompt="Hi"></ai-stream>')
    page.until("el.textContent")
    page.run("el.remove()")
    assert server.requests[0].left.wait(5)
    page.run("document.body.append(el)")
    assert page.run("return [el.run.status, el.textContent]") == ["detached", "Hel"]
    assert len(server.requests) == 1


@pytest.mark.parametrize("prompt", ["", 'prompt="Hi"'])
def test_a_persistent_element_goes_on_after_a_reload(
    page: Page, server: ScriptedServer, prompt: str
) -> None:
    server.play("/ai/chat", [HEAD, HELLO.frames(0, 2), Ending.HOLD])
    server.play(HELLO.events_path, [HEAD, HELLO.frames()])
    markup = f'<ai-stream src="/ai/chat" persist="answer" {prompt}></ai-stream>'
    put(page, markup)
    page.run("if (!el.hasAttribute('prompt')) el.ask('Hi')")
    page.until("el.textContent")
    page.open()
    put(page, markup)
    page.run("await ended")
    assert page.run("return el.textContent") == TEXT
    assert [request.method for request in server.requests] == ["POST", "GET"]


@pytest.mark.parametrize("more", ['persist="answer"', 'prompt="Not this"'])
def test_what_is_asked_at_once_is_asked_once_and_instead(
    page: Page, server: ScriptedServer, more: str
) -> None:
    server.play("/ai/chat", [HEAD, HELLO.frames()])
    page.run(
        PUT + "window.outcome = el.ask('This').done",
        f'<ai-stream src="/ai/chat" {more}></ai-stream>',
    )
    assert page.run("return outcome")["text"] == TEXT
    assert page.run("return el.textContent") == TEXT
    assert [request.json for request in server.requests] == [{"prompt": "This"}]


def test_an_element_that_was_removed_at_once_asks_nothing(
    page: Page, server: ScriptedServer
) -> None:
    page.run(PUT + "el.remove()", '<ai-stream src="/ai/chat" prompt="Hi"></ai-stream>')
    assert page.run("return el.run") is None


def test_options_may_be_set_before_the_module_is_there(page: Page, server: ScriptedServer) -> None:
    server.play("/ai/chat", [HEAD, HELLO.frames()])
    page.run("""
        const markup = '<ai-stream src="/ai/chat" prompt="Hi"></ai-stream>';
        const elsewhere = new DOMParser().parseFromString(markup, "text/html");
        const element = elsewhere.querySelector("ai-stream");
        element.options = { headers: { Authorization: "Bearer x" } };
        document.body.append(element);
        await until(() => element.run);
        await element.run.done;
    """)
    assert server.requests[0].headers["authorization"] == "Bearer x"


def test_text_is_added_once_per_frame(page: Page, server: ScriptedServer) -> None:
    log = Log(*["token "] * 20_000, ev.Finished())
    server.play("/ai/chat", [HEAD, log.frames()])
    put(page, '<ai-stream src="/ai/chat" prompt="Hi"></ai-stream>')
    page.run("await ended")
    length, nodes = page.run("return [el.textContent.length, el.childNodes.length]")
    assert length == 120_000
    assert nodes < 200


PACED = """
const encoder = new TextEncoder();
const frames = (from, to) => {
  let text = from === 1 ? 'id: r1:0\\nevent: run\\ndata: {"run":"r1","provider":"chat"}\\n\\n' : "";
  for (let n = from; n < to; n++) text += `id: r1:${n}\\ndata: {"text":"token "}\\n\\n`;
  return text + (to > args[0] ? `id: r1:${to}\\ndata: {"action":"terminate"}\\n\\n` : "");
};
// A hundred tokens each hundredth of a second.
const fetch = async () => new Response(new ReadableStream({
  async start(controller) {
    const begun = performance.now();
    for (let n = 1; n <= args[0]; n += 100) {
      controller.enqueue(encoder.encode(frames(n, n + 100)));
      while (performance.now() - begun < n / 10) await new Promise((resolve) => setTimeout(resolve));
    }
    controller.close();
  },
}), { headers: { "Content-Type": "text/event-stream" } });

async function longestFrame(work) {
  let [last, longest, open] = [performance.now(), 0, true];
  const tick = (now) => {
    longest = Math.max(longest, now - last);
    last = now;
    if (open) requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
  await work();
  open = false;
  return longest;
}

const out = document.body.appendChild(document.createElement("p"));
const plain = await longestFrame(async () => {
  for await (const event of ai.stream("/ai/chat", "Hi", { fetch })) if (event.type === "text") out.append(event.text);
});
out.remove();
const element = document.body.appendChild(document.createElement("ai-stream"));
element.setAttribute("src", "/ai/chat");
element.options = { fetch };
const shown = await longestFrame(() => element.ask("Hi").done);
return [plain, shown, element.textContent.length];
"""


@pytest.mark.nightly
def test_ten_thousand_tokens_a_second_make_no_longer_frames_than_a_plain_loop(
    page: Page, server: ScriptedServer
) -> None:
    plain, shown, length = page.run(PACED, 30_000)
    print(f"Longest frame: {shown:.0f} ms; in a plain loop {plain:.0f} ms.")
    assert length == 180_000
    assert shown <= max(50, plain)
