"""Tasks: what is translated into what."""
