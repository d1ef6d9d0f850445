"""A file that the processes of one machine share.

``engine`` keeps the contract; the others have one idea each, and know neither it nor each other's
tables: ``file`` opens it, ``tables`` makes it, ``journal`` takes what runs say, ``follower`` sees what
others wrote, ``processes`` who lives, ``notices`` what an owner is to know, ``sweep`` what is forgotten.
"""

from flask_aistream.stores.sqlite.engine import SqliteEngine

__all__ = ["SqliteEngine"]
