"""The iterators that a suspended iterator is in the middle of reading.

Closing a generator drops its reference to the inner iterator. Streams of several SDKs are in reference cycles:
they and their connections stay open until the next garbage collection, while the vendor continues to generate,
and to bill, the answer. So the inner iterators of a provider are found before it is closed, and closed as well.
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
    """The iterator that ``iterator`` is reading, the one that this is reading, and so on; outermost first.

    For a suspended generator: the generators that its loops and ``yield from`` read. Objects that only a local
    variable refers to are skipped, because other code may share them. For an iterator that cannot be closed
    itself: the iterators among its attributes.

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
        # A file or a cursor may be used by other code.
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
