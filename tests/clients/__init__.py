"""Real clients against a real server: Python SDKs, JavaScript clients in Node, htmx in Chromium.

``setup.sh`` installs the JavaScript clients.
"""
