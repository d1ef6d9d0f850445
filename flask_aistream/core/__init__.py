"""What a run is: events, cursors, pages, requests. Pure: no I/O, no clock, no thread, no Flask."""
