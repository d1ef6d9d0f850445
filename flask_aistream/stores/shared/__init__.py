"""Logs that several processes share: replicas in memory of what a database holds."""
