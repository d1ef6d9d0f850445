"""A file that the processes of one machine share.

``engine`` implements the contract. Each other module has one idea, and knows no other's tables: ``file`` opens
and checks the file, ``tables`` creates them, ``journal`` holds the records of living runs, ``following``
reads what other processes append, ``processes`` recovers the runs of dead ones, ``indexes`` find a run besides its
id, ``notices`` tell an owner that its run is lost, ``outbox`` holds ends to be delivered, ``retention`` drops
ended runs.
"""

from flask_aistream.stores.sqlite.engine import SqliteEngine

__all__ = ["SqliteEngine"]
