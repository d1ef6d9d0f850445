"""Runs over time: a provider fills a log, and a run is started, stopped, restarted and ended.

Depends on the contracts of stores and of ``timing/``, and on no implementation of either.
"""
