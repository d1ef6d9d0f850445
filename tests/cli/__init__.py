"""The commands of ``flask aistream``."""
