from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from spotify_dag.orchestration.partitions import ranges, user_bucket_partitions


def test_keys_sort_as_numbers_do() -> None:
    for n_buckets in (1, 64, 100, 1024):
        keys = user_bucket_partitions(n_buckets).get_partition_keys()
        assert sorted(keys) == list(keys)
        assert [int(key) for key in keys] == list(range(n_buckets))


def test_ranges_have_no_gaps() -> None:
    assert ranges([]) == []
    assert ranges([5]) == [(5, 5)]
    assert ranges([3, 1, 2, 7, 2]) == [(1, 3), (7, 7)]
    assert ranges([1, 4, 6], through={2, 3}) == [(1, 4), (6, 6)]
    assert ranges([1, 4], through={2}) == [(1, 1), (4, 4)]
    assert ranges([5], through={0, 4, 6}) == [(5, 5)]


def test_ranges_have_at_most_so_many_buckets() -> None:
    assert ranges(range(6), at_most=4) == [(0, 3), (4, 5)]
    assert ranges(range(4), at_most=4) == [(0, 3)]
    assert ranges([0, 1, 5, 6, 7], at_most=2) == [(0, 1), (5, 6), (7, 7)]
    # What nobody is in does not count.
    assert ranges([0, 2, 4, 6], through={1, 3, 5}, at_most=3) == [(0, 4), (6, 6)]
    assert ranges([3, 4], at_most=1) == [(3, 3), (4, 4)]


@given(st.sets(st.integers(0, 200)), st.none() | st.integers(1, 9))
def test_ranges_hold_exactly_the_buckets(buckets: set[int], at_most: int | None) -> None:
    found = ranges(buckets, at_most=at_most)
    assert {bucket for first, last in found for bucket in range(first, last + 1)} == buckets
    for (first, last), (later, _) in pairwise(found):
        assert later > last + 1 or (at_most is not None and last - first + 1 == at_most)
        assert at_most is None or last - first + 1 <= at_most
