"""What answers in the example application: one file a model, and the environment chooses one."""
