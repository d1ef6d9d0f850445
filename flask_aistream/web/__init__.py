"""The Flask edge: requests in, responses out.

The only importer of Flask, and the only folder that chooses implementations of contracts. From the bottom:
``config``, ``registry``, ``mounts``, ``process``, ``extension``, ``parse``, ``start``, ``stream``, ``routes``,
``blueprint``.
"""
