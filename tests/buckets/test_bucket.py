"""A bucket: sizes by symbol, and which true sizes it serves."""

from __future__ import annotations

from sod2jax.buckets.bucket import Bucket
from sod2jax.ir.region import Region


def test_a_bucket_is_a_mapping():
    chosen = Bucket.of({"s": 8, "b": 2})
    assert dict(chosen) == {"b": 2, "s": 8}
    assert chosen == Bucket.of({"b": 2, "s": 8})
    assert len({chosen, Bucket.of({"b": 2, "s": 8})}) == 1
    assert chosen.holds({"b": 2, "s": 3})
    assert not chosen.holds({"b": 3, "s": 3})


def test_a_bucket_is_printed_as_its_sizes():
    chosen = Bucket.of({"s": 8, "b": 2})
    assert str(chosen) == "b=2, s=8"
    assert repr(chosen) == "Bucket(b=2, s=8)"
    assert str(Bucket.of({})) == "fixed shapes"


def test_a_bucket_covers_what_begins_and_ends_inside():
    small, large = Bucket((("s", 8),), (("s", 5),)), Bucket((("s", 16),), (("s", 9),))
    everything = Bucket.of({"s": 16})
    assert not large.covers(small) and everything.covers(small) and everything.covers(large)
    assert not large.covers(everything)
    assert small.holds({"s": 5}) and not small.holds({"s": 4}) and not small.holds({"s": 9})
    assert small.part_of(Region.of(("s",), [])).range("s") == (5, 8)
