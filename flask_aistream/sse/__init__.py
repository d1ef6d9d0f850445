"""The event-stream format (WHATWG HTML, "Server-sent events"). Pure, knows nothing of runs."""
