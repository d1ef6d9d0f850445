"""Events → frames, and requests in a client's own dialect; one file a protocol. Pure.

A new protocol is a file with a ``WireProtocol`` in it and a row in ``table.py``.
"""
