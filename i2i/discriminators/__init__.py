"""Discriminators: networks that judge a picture, patch by patch."""
