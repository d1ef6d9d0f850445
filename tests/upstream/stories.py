"""What a model says, before any vendor words it.

A model's name is the name of its story; three kinds of names carry a number: ``count-20-50`` says 20
numbers, one every 50 ms, ``error-429`` answers with that HTTP status, and ``silent-after-3`` falls
silent after 3 words. Any other name says hello, so that an application needs no special name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace


@dataclass(frozen=True)
class Text:
    text: str


@dataclass(frozen=True)
class Think:
    text: str


@dataclass(frozen=True)
class Call:
    """A tool call whose JSON arguments arrive in ``pieces``."""

    id: str
    name: str
    pieces: tuple[str, ...]

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)


@dataclass(frozen=True)
class Cite:
    url: str
    title: str


@dataclass(frozen=True)
class Image:
    media_type: str
    base64: str


@dataclass(frozen=True)
class Pause:
    """Say nothing for so many seconds; ``math.inf``: until the client leaves."""

    seconds: float


@dataclass(frozen=True)
class Fail:
    """The dialect's own error object, in the middle of a stream that began with 200."""

    message: str = "The model is overloaded"


@dataclass(frozen=True)
class Cut:
    """Close the connection without the last chunk."""


Step = Text | Think | Call | Cite | Image | Pause | Fail | Cut


@dataclass(frozen=True)
class Story:
    """
    :param finish: ``stop``, ``length``, ``tool-calls`` or ``content-filter``; dialects have own words.
    :param status: Anything but 200 is answered before the first byte, in the dialect's error shape.
    :param headers: ``False``: the request is read and never answered.
    """

    steps: tuple[Step, ...] = ()
    finish: str = "stop"
    input_tokens: int = 12
    cached_tokens: int = 4
    output_tokens: int = 7
    reasoning_tokens: int = 0
    status: int = 200
    headers: bool = True

    @property
    def text(self) -> str:
        return "".join(step.text for step in self.steps if isinstance(step, Text))

    @property
    def thoughts(self) -> str:
        return "".join(step.text for step in self.steps if isinstance(step, Think))

    @property
    def calls(self) -> list[Call]:
        return [step for step in self.steps if isinstance(step, Call)]

    @property
    def citations(self) -> list[Cite]:
        return [step for step in self.steps if isinstance(step, Cite)]

    @property
    def images(self) -> list[Image]:
        return [step for step in self.steps if isinstance(step, Image)]


PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def words(*texts: str) -> tuple[Text, ...]:
    return tuple(map(Text, texts))


HELLO = Story(words("Hel", "lo, ", "world", "!"))
WEATHER = Call("call_1", "weather", ('{"city"', ':"Bern"', "}"))
TIME = Call("call_2", "time", ('{"zone":', '"Europe/Zurich"}'))

STORIES: dict[str, Story] = {
    "hello": HELLO,
    "empty": Story(output_tokens=0),
    "odd": Story(words("a\nb", "\r\n", " c ", "\u2028\u2029\x85", "é漢", "🦉", '"\\', "<b>&", "")),
    "length": replace(HELLO, finish="length"),
    "filter": replace(HELLO, finish="content-filter"),
    "reasoning": Story(
        (Think("Let me "), Think("see."), *words("It is ", "42.")),
        output_tokens=9,
        reasoning_tokens=5,
    ),
    "tools": Story((Text("Looking. "), WEATHER, TIME), finish="tool-calls"),
    "tool": Story((WEATHER,), finish="tool-calls"),
    "bare-tool": Story((Call("call_3", "now", ()),), finish="tool-calls"),
    "sources": Story((Text("See the docs."), Cite("https://example.org/docs", "The docs"))),
    "image": Story((Text("Here: "), Image("image/png", PIXEL))),
    "error-middle": Story((*words("Half", " a"), Fail())),
    "cut": Story((*words("Half", " a"), Cut())),
    "silent": Story((*words("One ", "two ", "three "), Pause(math.inf))),
    "hang": Story(headers=False),
}


def counting(count: str, every_ms: str) -> Story:
    steps: list[Step] = []
    for number in range(int(count)):
        steps += [Text(f"{number} "), Pause(int(every_ms) / 1000)]
    return Story(tuple(steps), output_tokens=int(count))


def failing(status: str) -> Story:
    return Story(status=int(status))


def falling_silent(after: str) -> Story:
    said = (Text(f"{number} ") for number in range(int(after)))
    return Story((*said, Pause(math.inf)))


NUMBERED: dict[str, Callable[..., Story]] = {
    r"count-(\d+)-(\d+)": counting,
    r"error-(\d+)": failing,
    r"silent-after-(\d+)": falling_silent,
}

# How each dialect says that a tool has answered; then "agent" has no more to call.
TOOL_ANSWERS = re.compile(
    r'"(role": ?"tool|type": ?"(tool_result|function_call_output)|functionResponse)"'
)


def story_of(model: str, body: str) -> Story:
    """The story of a model, given the request's text."""
    name = model.rpartition("/")[2]
    if name == "agent":
        return HELLO if TOOL_ANSWERS.search(body) else STORIES["tools"]
    for pattern, story in NUMBERED.items():
        if found := re.fullmatch(pattern, name):
            return story(*found.groups())
    return STORIES.get(name, HELLO)
