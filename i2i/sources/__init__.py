"""Sources: where training pictures come from."""
