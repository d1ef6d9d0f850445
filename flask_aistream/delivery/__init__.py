"""One connection: a cursor taken through one log into one response.

May import everything up to runs and server; never Flask.
"""
