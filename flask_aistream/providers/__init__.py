"""What a provider yields → events; one file an SDK. Pure, and imports no SDK.

A new SDK is a file with an adapter in it and a row in ``table.py``.
"""
