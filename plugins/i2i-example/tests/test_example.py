"""What a plugin package's tests need to be: the checks that i2i ships, one line a part."""

from collections.abc import Callable

import pytest
from i2i_example import Charbonnier, Dilated

from i2i import testing


@pytest.mark.parametrize("check", testing.checks("losses"))
def test_charbonnier(check: Callable[[type], None]) -> None:
    check(Charbonnier)


@pytest.mark.parametrize("check", testing.checks("generators"))
def test_dilated(check: Callable[[type], None]) -> None:
    check(Dilated)
