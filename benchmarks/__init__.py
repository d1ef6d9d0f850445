"""This project and its peers, measured side by side: ``make bench``.

One file a server (``servers/``), one file a workload (``workloads/``), and a client in C that checks
that every token arrives once and in order (``client/``). Servers are pinned to one core, the client
to another; the rounds are interleaved, so that a machine that changes its speed changes it for all.
"""
