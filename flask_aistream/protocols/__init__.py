"""Wire protocols: events → frames, and request bodies → ``ParsedRequest``. One file each. Pure.

A new protocol is a file that defines a ``WireProtocol``, and a row in ``table.py``.
"""
