"""What we know of WSGI servers and their workers; the only code that names gunicorn or gevent."""
