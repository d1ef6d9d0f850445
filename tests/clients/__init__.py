"""The clients people use, at real servers: Python SDKs, Node in its own process, htmx in Chromium.

``setup.sh`` installs those in JavaScript.
"""
