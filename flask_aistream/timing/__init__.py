"""Contracts for time and concurrency: clock, timer, task, waiter, flush interval.

Every folder may import it; it imports none. The implementations live in server.
"""
