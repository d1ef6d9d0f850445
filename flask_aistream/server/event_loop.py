"""Keep an asyncio loop running for the life of the process, whatever its tasks do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

logger = logging.getLogger("flask_aistream")


def serve_forever(
    loop: asyncio.AbstractEventLoop, prepare: Callable[[], object] = lambda: None
) -> None:
    """Run ``loop``, and again whenever a task stops it (``loop.stop()``, ``sys.exit()``, ``KeyboardInterrupt``).

    Its other tasks go on. Returns when the loop is closed, or this greenlet is killed.

    :param prepare: Called before each run.
    """
    while not loop.is_closed():
        prepare()
        try:
            loop.run_forever()
            reason: BaseException | None = None
        except BaseException as error:
            if type(error).__name__ == "GreenletExit":
                raise
            reason = error
        if not loop.is_closed():
            logger.error(
                "An async provider has stopped the event loop of all async providers (%s). It was started "
                "again. Do not call loop.stop() or sys.exit() there.",
                "loop.stop()" if reason is None else type(reason).__name__,
                exc_info=reason,
            )
