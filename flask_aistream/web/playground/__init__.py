"""The playground: a page to try the providers, and the live view of runs.

``route`` has its rules and who may use them, ``choices`` what the page offers, ``live`` the runs that it lists.
The page itself, in ``page/``, is plain HTML, CSS and JavaScript modules.
"""
