"""Runs, events, cursors, pages and requests. Pure: no I/O, no clock, no thread, no Flask."""
