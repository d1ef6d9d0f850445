"""Time and concurrency: clock, timer, task, waiter, flush interval.

Every folder may import this one; it imports none. The implementations for threads and greenlets are in ``server/``.
"""
