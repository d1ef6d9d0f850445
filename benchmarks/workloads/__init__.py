"""What is measured; one file a workload, a row each in ``table.py``."""
