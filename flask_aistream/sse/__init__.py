"""The event-stream format (WHATWG HTML, "Server-sent events"). Pure, and independent of runs."""
