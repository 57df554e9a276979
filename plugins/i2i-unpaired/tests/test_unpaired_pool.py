"""The pool of translations: what it keeps, what it shows, and that its state comes back whole."""

import torch
from i2i_unpaired.pool import Pool
from torch import Tensor


def numbered(start: int, count: int = 1) -> Tensor:
    """Pictures that hold their own number."""
    return torch.arange(start, start + count).float().view(count, 1, 1, 1).expand(count, 3, 2, 4)


def number(pictures: Tensor) -> list[int]:
    return [int(picture[0, 0, 0]) for picture in pictures]


def test_until_it_is_full_it_shows_what_it_is_given() -> None:
    torch.manual_seed(0)
    pool = Pool(5)
    assert number(pool(numbered(0, 5))) == [0, 1, 2, 3, 4]
    assert number(pool.pictures) == [0, 1, 2, 3, 4]


def test_once_full_half_of_what_it_shows_is_old_and_no_picture_is_shown_twice() -> None:
    torch.manual_seed(0)
    pool = Pool(50)
    shown = [number(pool(numbered(i)))[0] for i in range(2050)]
    old = [i for i in range(50, 2050) if shown[i] != i]
    assert 0.46 < len(old) / 2000 < 0.54  # 3.6 standard deviations of a fair coin
    assert all(shown[i] < i for i in old)
    # A picture leaves the pool when it is shown; only the first 50 were shown and kept at once.
    later = [shown[i] for i in old if shown[i] >= 50]
    assert len(set(later)) == len(later)
    ages = [i - shown[i] for i in old[200:]]
    assert 80 < sum(ages) / len(ages) < 120  # 50 places, of which every second picture takes one


def test_size_0_keeps_nothing_and_cuts_off_the_gradient() -> None:
    fake = numbered(3).clone().requires_grad_()
    for size in (0, 2):
        assert not Pool(size)(fake).requires_grad
    pool = Pool(0)
    assert number(pool(fake)) == [3]
    assert not len(pool.pictures)


def test_what_it_keeps_is_its_own() -> None:
    pool, fake = Pool(2), numbered(1).clone()
    pool(fake)
    fake.zero_()
    assert number(pool.pictures) == [1]


def test_translations_of_another_size_begin_anew() -> None:
    pool = Pool(2)
    pool(torch.zeros(2, 3, 4, 4))
    assert number(pool(numbered(7))) == [7]
    assert number(pool.pictures) == [7]


def test_the_state_comes_back_whole_empty_or_partly_filled() -> None:
    for given in (torch.zeros(0), torch.randn(3, 3, 2, 4)):
        pool, other = Pool(4), Pool(4)
        pool.pictures = given
        other.pictures = torch.ones(1, 3, 9, 9)
        other.load_state_dict(pool.state_dict())
        assert torch.equal(other.pictures, given)
    pool(numbered(5))
    assert len(other.pictures) == 3
