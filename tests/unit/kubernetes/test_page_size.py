"""How many objects a page of a list has."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from archiver.kubernetes.page_size import MOST_BYTES, SINGLE_BYTES, PageSize

MIB = 1 << 20


@given(st.lists(st.integers(100, 20 * MIB), min_size=1, max_size=300), st.integers(1, 1000))
def test_any_list_is_read_to_its_end_within_the_bound(sizes: list[int], most: int) -> None:
    """Whatever follows whatever: no more of an answer is read than its bound, and the list becomes complete in not too many requests."""
    size, left, requests = PageSize(most), list(sizes), 0
    while left:
        requests += 1
        page = left[: size.limit]
        assert 1 <= len(page) <= most
        if sum(page) > size.most_bytes:
            assert size.limit > 1
            assert size.too_large()
            continue
        assert sum(page) <= (MOST_BYTES if len(page) > 1 else SINGLE_BYTES)
        size.came(sum(page))
        del left[: len(page)]
    assert requests <= 6 * len(sizes)


def test_small_objects_come_in_full_pages_soon() -> None:
    """The first small page costs a list of many small objects three requests."""
    size = PageSize(500)
    limits = []
    for _ in range(5):
        limits.append(size.limit)
        size.came(1000 * size.limit)
    assert limits == [10, 40, 160, 500, 500]


def test_nothing_is_smaller_than_one_object() -> None:
    """An object beyond the bound of a single one cannot be read at all."""
    size = PageSize(3)
    assert size.limit == 3
    assert size.too_large()
    assert (size.limit, size.most_bytes) == (1, SINGLE_BYTES)
    assert not size.too_large()
