"""What i2i measures itself by: each file is one comparison, `python -m bench` runs those of `docs/performance.md`."""
