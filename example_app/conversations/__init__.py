"""Conversations of people who are logged in: kept in SQLite through Flask-SQLAlchemy, and continued on any device.

``database.py`` has the tables, ``hooks.py`` connects them to an ``AIStream``, ``routes.py`` serves them to the page.
"""
