"""Faults that are really injected into real processes, and what readers notice of them.

said.py      what providers say, so that every token can be checked
app.py       the application under test; writes a ledger of every run
client.py    many strict readers in one thread
proxy.py     the network between them and the application
stores.py    a file and a Redis that can be maltreated
scene.py     one application with its store, network and readers
rows.py      the table of faults
play.py      one row: runs are started, the fault happens, everything is counted
__main__.py  the whole table as a page of the docs; the soak
"""
