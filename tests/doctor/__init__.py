"""``flask aistream doctor``: its checks, and whole deployments that are broken or healthy."""
