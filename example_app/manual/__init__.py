"""This project's documentation as short passages, and the search that finds the fitting ones."""
