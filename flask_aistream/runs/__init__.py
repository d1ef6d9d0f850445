"""What happens in time: a provider fills a log, a reader follows it, a run is started and ended.

Knows the contracts of stores and of concurrency, and no implementation of either.
"""
