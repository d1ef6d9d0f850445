"""External suites, and the page that reports them; see ``python -m tests.conformance``."""
