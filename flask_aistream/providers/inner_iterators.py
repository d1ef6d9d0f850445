"""The iterators that a suspended iterator is in the middle of reading.

A generator that is closed lets go of what it was reading. That ends the reading where nothing else holds
the inner iterator, but streams of several SDKs refer to themselves, and stay open, with their
connection, until the garbage collector comes by: seconds, or minutes, in which the vendor goes on
writing an answer (and a bill) for nobody. So whoever closes what a provider made asks first what it
reads, and closes that too.
"""

from __future__ import annotations

import gc
import types
import typing as t
from collections import Counter

GENERATORS = (types.GeneratorType, types.AsyncGeneratorType)
SYNC = ("close",)
ASYNC = ("aclose", "close")


def reading(iterator: t.Any, ways: tuple[str, ...] = SYNC) -> list[t.Any]:
    """What ``iterator`` is reading, and that in turn, as far as it can be closed; outermost first.

    Of a suspended generator these are generators that its loops and ``yield from`` read. What its frame
    has a name for, and nothing else, is left alone, as others may have it too. Of an iterator that
    cannot be closed itself these are the iterators it keeps.

    :param ways: Names of the methods that close.
    """
    found: list[t.Any] = []
    seen = {id(iterator)}
    todo = [iterator]
    while todo:
        for inner in held(todo.pop(0), ways):
            if id(inner) not in seen:
                seen.add(id(inner))
                todo.append(inner)
                found += [inner] if can_close(inner, ways) else []
    return found


def held(iterator: t.Any, ways: tuple[str, ...]) -> list[t.Any]:
    if isinstance(iterator, GENERATORS):
        on_stack = looped_over(iterator)
        # A file or a cursor may be anybody's.
        return [it for it in on_stack if isinstance(it, GENERATORS) or not can_close(it, ways)]
    if can_close(iterator, ways) or not is_iterator(iterator):
        return []
    return [it for it in getattr(iterator, "__dict__", {}).values() if is_iterator(it)]


def looped_over(generator: t.Any) -> list[t.Any]:
    """Iterators on the stack of a suspended generator's frame; none outside of CPython."""
    frame = getattr(generator, "gi_frame", None) or getattr(generator, "ag_frame", None)
    if frame is None:
        return []
    # CPython to 3.10 keeps these references with the frame, later versions with the generator.
    referents = [it for it in gc.get_referents(generator, frame) if is_iterator(it)]
    names = set(frame.f_code.co_varnames) - set(frame.f_code.co_cellvars)
    times = Counter(map(id, referents))
    times.subtract(id(it) for name, it in frame.f_locals.items() if name in names)
    return [it for it in referents if times[id(it)] > 0]


def is_iterator(value: t.Any) -> bool:
    kind = type(value)
    return hasattr(kind, "__next__") or hasattr(kind, "__anext__")


def can_close(value: t.Any, ways: tuple[str, ...]) -> bool:
    return any(hasattr(value, way) for way in ways)
