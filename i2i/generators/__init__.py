"""Generators: networks from an input to raw scores of the same size."""
