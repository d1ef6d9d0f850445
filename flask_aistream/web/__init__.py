"""The Flask edge: requests in, responses out. The only importer of Flask; picks implementations."""
