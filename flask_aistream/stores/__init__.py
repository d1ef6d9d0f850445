"""Where logs live. May do I/O; knows nothing of providers, protocols or Flask."""
