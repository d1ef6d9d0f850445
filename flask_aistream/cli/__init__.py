"""``flask aistream …``: commands for developers and operators, found through the entry point ``flask.commands``.

Above everything else in the package; nothing imports it.
"""
