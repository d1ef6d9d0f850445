"""What is wrong with a deployment, and its cure: ``flask aistream doctor``.

A probe measures the public URL and asks the serving process; the checks are functions of what it found.
"""
