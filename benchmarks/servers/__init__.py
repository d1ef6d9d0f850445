"""The servers that are measured; one file each. All are given the same tokens, as ``str``, by the same
provider, and word them as JSON in the way their own documentation shows.

| path | answers |
|---|---|
| ``/stream?mode=…&n=…&rate=…&i=…&kind=…`` | one stream of ``n`` tokens (see ``tokens.py``) |
| ``/freed`` | ``[[i, time], …]``: when the provider of stream ``i`` was ended |
| ``/fan``, then ``/go?mode=…&n=…&rate=…`` | one source, many readers |
"""
