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


@given(st.sets(st.integers(0, 200)))
def test_ranges_hold_exactly_the_buckets(buckets: set[int]) -> None:
    found = ranges(buckets)
    assert {bucket for first, last in found for bucket in range(first, last + 1)} == buckets
    assert all(later[0] > earlier[1] + 1 for earlier, later in pairwise(found))
