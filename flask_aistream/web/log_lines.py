"""Keep a stranger's text from forging log lines: an exception's message may quote a prompt, or what a model said."""

from __future__ import annotations

import logging
import re
import traceback

CONTROL = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
"""Control characters, and the separators that some viewers begin a line at; but for tab and newline."""

LOGGERS = ("flask_aistream", "flask_aistream.runs")


class Escape(logging.Filter):
    """Escapes control characters of records, and indents the further lines of an exception's message."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if "\n" in message or CONTROL.search(message):
            record.msg, record.args = escaped(message).replace("\n", "\\n"), ()
        if record.exc_info and record.exc_info[0] is not None and not record.exc_text:
            lines = list(traceback.TracebackException(*record.exc_info).format())
            safe = [escaped(indented(line)) for line in lines]
            if safe != lines:  # A formatter takes this text instead of making its own.
                record.exc_text = "".join(safe).rstrip("\n")
        return True


def escaped(text: str) -> str:
    return CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


def indented(lines: str) -> str:
    """The first line of a part of a traceback, and the others as its continuation."""
    first, *others = lines.split("\n")
    if not first:  # The sentence between two exceptions.
        return lines
    return "\n".join([first, *(f"  {line}" if line[:1].strip() else line for line in others)])


ESCAPE = Escape()


def install() -> None:
    """Filter the records of this package. Idempotent."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(ESCAPE)
