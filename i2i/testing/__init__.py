"""Conformance: what every part of a kind must do, for our own tests and for those of plugin packages.

The whole test file of a package:
```python
from i2i.testing import parametrize

@parametrize("my-package")
def test_conforms(case):
    case()
```
Every part that the installed distribution registers goes through every check of its kind, each a test of its own. For a
part that need not be installed: `parametrize({"generators": [Dilated, functools.partial(Dilated, depth=2)]})`.
"""

from __future__ import annotations

from i2i.testing.cases import Case, cases, checks, parametrize
from i2i.testing.supply import Check

__all__ = ["Case", "Check", "cases", "checks", "parametrize"]
