"""One folder a model; README.md says how to add one."""
