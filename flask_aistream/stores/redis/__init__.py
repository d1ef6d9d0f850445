"""A Redis or Valkey server, for any number of machines.

``engine`` implements the contract. Each other module has one idea: ``client`` reads a URL, ``server`` sends
commands, ``scripts`` run in the server, ``following`` subscribes, ``subscriber`` receives what other processes
publish, ``pulse`` sends the heartbeat, ``keys`` names everything, ``indexes`` find a run besides its id,
``processes`` recovers the runs of dead processes, ``outbox`` holds ends to be delivered, ``retention`` drops
ended runs.
"""

from flask_aistream.stores.redis.engine import RedisEngine

__all__ = ["RedisEngine"]
