"""A Redis or Valkey server, for any number of machines.

``engine`` keeps the contract; the others have one idea each: ``client`` makes sense of a URL, ``server``
is the connection that writes and asks, ``carrier`` the one that listens, ``scripts`` what the server does
in one step, ``keys`` how everything is called, ``names`` by what a run is found, ``lengths`` where logs
are cut, ``processes`` who lives, ``finished`` what has ended and when it is forgotten.
"""

from flask_aistream.stores.redis.engine import RedisEngine

__all__ = ["RedisEngine"]
