"""WSGI servers and their workers: what runs on gevent or threads, and what knows gunicorn."""
