"""Log lines, spans and metrics of runs, with the real libraries."""
