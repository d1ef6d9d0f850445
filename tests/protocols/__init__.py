"""The wire protocols: golden transcripts, readers, and what every dialect promises."""
