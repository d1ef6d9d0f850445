"""How runs are found besides their ids: by idempotency key, chat and owner."""

from __future__ import annotations

import typing as t

from flask_aistream.core.run import Run
from flask_aistream.errors import ChatBusy
from flask_aistream.stores.base import CHAT_RUNS
from flask_aistream.stores.base import LISTED
from flask_aistream.stores.shared.engine import Name
from flask_aistream.stores.sqlite.file import SqliteFile

FIND = {
    "key": "SELECT id FROM run WHERE app = ? AND key = ?",
    "chat": "SELECT id FROM (SELECT id, chat_left FROM run WHERE app = ? AND chat = ? ORDER BY no DESC LIMIT 1) "
    "WHERE chat_left IS NULL",
    "chat-live": "SELECT id FROM run WHERE app = ? AND chat = ? AND token IS NULL ORDER BY no",
    "chat-runs": "SELECT id FROM (SELECT id, no FROM run WHERE app = ? AND chat = ? ORDER BY no DESC "
    f"LIMIT {CHAT_RUNS}) ORDER BY no",
    "all": f"SELECT id FROM run WHERE app = ? AND ? = '' ORDER BY no DESC LIMIT {LISTED}",
}


class SqliteIndexes:
    """
    :param namespace: Of the application.
    """

    def __init__(self, file: SqliteFile, namespace: str) -> None:
        self._file = file
        self._app = namespace

    def find(self, kind: Name, value: str) -> list[str]:
        return [run_id for (run_id,) in self._file.execute(FIND[kind], (self._app, value))]

    def leave_chat(self, chat: str, run_id: str) -> None:
        # The runs before it too, or the last of them would be the latest.
        self._file.execute(
            "UPDATE run SET chat_left = 1 WHERE app = ? AND chat = ? AND no <= (SELECT no FROM run WHERE id = ?)",
            (self._app, chat, run_id),
        )

    def check_newest(self, chat: str, previous: str) -> None:
        """
        :raises ChatBusy: ``previous`` is not the newest run of the chat, or has not ended.
        """
        newest, ended = self._file.execute(
            "SELECT id, token IS NOT NULL FROM run WHERE app = ? AND chat = ? "
            "ORDER BY no DESC LIMIT 1",
            (self._app, chat),
        ).fetchone() or ("", True)
        if newest != previous or not ended:
            raise ChatBusy(newest)

    def free_key(self, run: Run) -> None:
        self._file.execute(
            "UPDATE run SET key = NULL WHERE app = ? AND key = ?", (self._app, run.key)
        )

    def running(self, run: Run) -> int:
        """Number of the living runs of a run's owner."""
        if run.owner is None:
            return 0
        found = self._file.execute(
            "SELECT count(*) FROM run WHERE token IS NULL AND app = ? AND namespace = ? AND owner = ?",
            (self._app, run.namespace, run.owner),
        )
        return t.cast(int, found.fetchone()[0])
