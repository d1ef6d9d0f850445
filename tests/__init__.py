"""The tests mirror the package; ``upstream`` is the vendor they talk to."""
