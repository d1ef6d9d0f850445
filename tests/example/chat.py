"""The chat page in a browser, in the words of who uses it."""

from __future__ import annotations

import typing as t

from selenium.webdriver import ActionChains
from selenium.webdriver import Chrome
from selenium.webdriver.common.keys import Keys

from tests.server.servers import wait_for

TURNS = "(JSON.parse(sessionStorage.getItem('example_app:conversation'))?.turns ?? [])"


class Chat:
    def __init__(self, browser: Chrome) -> None:
        self._browser = browser

    def open(self, url: str) -> None:
        """As a visitor who was never here before, and whose keyboard is on the page."""
        self._browser.get(url + "static/icon.svg")  # Of the same origin, and without the page.
        self.js("sessionStorage.clear()")
        self._browser.get(url)
        self._wait_ready()

    def reload(self) -> None:
        self._browser.refresh()
        self._wait_ready()

    def _wait_ready(self) -> None:
        # The module has run when the Send button knows that there is nothing to send.
        wait_for(
            lambda: self.js("return document.getElementById('send')?.disabled"), "the page to be up"
        )

    def leave(self) -> None:
        """Whatever is open ends."""
        self._browser.get("about:blank")

    def js(self, script: str, *args: object) -> t.Any:
        return self._browser.execute_script(script, *args)

    def type(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        ActionChains(self._browser).send_keys(*keys).perform()

    def new_line(self) -> None:
        chord = ActionChains(self._browser).key_down(Keys.SHIFT)
        chord.send_keys(Keys.ENTER).key_up(Keys.SHIFT).perform()

    def ask(self, question: str) -> None:
        self.type(question, Keys.ENTER)

    @property
    def questions(self) -> list[str]:
        return t.cast(
            "list[str]",
            self.js(
                "return [...document.querySelectorAll('.asked .said')].map((it) => it.textContent)"
            ),
        )

    @property
    def text(self) -> str:
        """What the last answer shows."""
        return str(
            self.js(
                "return [...document.querySelectorAll('.answered .text')].at(-1)?.innerText ?? ''"
            )
        )

    @property
    def said(self) -> str:
        """The last answer as it was streamed, from what the page keeps of it."""
        return str(self.js(f"return {TURNS}.at(-1)?.content ?? ''"))

    @property
    def status(self) -> str:
        return str(self.js("return document.getElementById('status').textContent"))

    @property
    def ending(self) -> str:
        return str(
            self.js(
                "const last = [...document.querySelectorAll('.answered')].at(-1);"
                "return [...(last?.querySelectorAll('footer p') ?? [])].map((it) => it.innerText).join(' ')"
            )
        )

    @property
    def announced(self) -> str:
        """What a screen reader last said by itself."""
        return str(self.js("return document.getElementById('announcements').textContent"))

    def press(self, label: str) -> None:
        """Click the last button that is shown with this label."""
        self.js(
            "[...document.querySelectorAll('button')].filter((it) => it.offsetParent"
            " && it.textContent === arguments[0]).at(-1).click()",
            label,
        )

    @property
    def focus(self) -> str:
        return str(self.js("return document.activeElement.id"))

    @property
    def busy(self) -> bool:
        return bool(self.js("return !document.getElementById('stop').hidden"))

    def wait_for_text(self, length: int) -> str:
        wait_for(lambda: len(self.text) >= length, f"an answer of {length} characters")
        return self.text

    def wait_for_end(self) -> None:
        wait_for(lambda: not self.busy, "the answer to end")
