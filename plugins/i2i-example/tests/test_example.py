"""The checks that i2i ships, of every part that this package registers: the whole test file of a plugin package."""

from i2i.testing import Case, parametrize


@parametrize("i2i-example")
def test_conforms(case: Case) -> None:
    case()
