"""All the tests that a plugin package needs: the checks that i2i ships, of every part that it registers."""

from i2i.testing import parametrize


@parametrize("i2i-example")
def test_conforms(case):
    case()
