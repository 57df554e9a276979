"""Methods: algorithms from papers."""
