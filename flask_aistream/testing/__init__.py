"""Test tools for applications: a client that reads streams, and providers that a test controls.

Nothing here sleeps. A ``Script`` yields what the test wrote down, a ``Gate`` decides when it goes on, and a
``StreamClient`` reads a stream to its end or fails with the events received so far.
"""

from flask_aistream.testing.client import Stream
from flask_aistream.testing.client import StreamClient
from flask_aistream.testing.script import DEADLINE
from flask_aistream.testing.script import Gate
from flask_aistream.testing.script import Script

__all__ = ["DEADLINE", "Gate", "Script", "Stream", "StreamClient"]
