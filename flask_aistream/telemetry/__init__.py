"""Metrics, traces and log lines of runs, each optional. They are receivers of ``run_ended``.

A run is measured where its end is delivered: also after a crash, and whichever process executed it.
"""
