"""A program with its executables: every bucket that a call can need, and no other."""

from __future__ import annotations

import numpy as np

import sod2jax
import sod2jax.numpy as snp
from sod2jax.buckets.bucket import Bucket


def specialisation(fun, shape, *, shapes, **options):
    f = sod2jax.optimize(fun, shapes=shapes, **options)
    f.trace(np.zeros(shape, np.float32))
    (made,) = f.planner.specialisations
    return made


def test_all_buckets_of_bounded_symbols():
    made = specialisation(
        lambda x: x * 2, (3,), shapes=("n",), constraints=("n <= 16",), buckets={"n": (4, 16)}
    )
    jobs = made.buckets(Bucket.of({"n": 4}))
    assert [bucket for _, bucket in jobs] == [Bucket.of({"n": 4}), Bucket.of({"n": 16})]
    assert all(executables is made.executables for executables, _ in jobs)
    assert made.ready == []


def test_only_the_first_bucket_where_there_is_no_end_of_them():
    made = specialisation(lambda x: x * 2, (3,), shapes=("n",))
    first = Bucket.of({"n": 16})
    assert [bucket for _, bucket in made.buckets(first)] == [first]


def test_no_bucket_for_more_elements_than_there_can_be():
    made = specialisation(
        lambda x: snp.compress(x > 0, x) * 2,
        (3,),
        shapes=("n",),
        constraints=("n <= 64",),
        buckets={"n": (16, 64)},
        cut="always",
    )
    assert len(made.parts) == 2
    later = [bucket for part, bucket in made.buckets(Bucket.of({"n": 16})) if part is made.parts[1]]
    assert later
    for bucket in later:
        (name,) = set(bucket) - {"n"}
        ladder = dict(made.parts[1].part.ladders.sizes)[name]
        smaller = [size for size in ladder if size < bucket[name]]
        assert not smaller or bucket.get("n", 64) > smaller[-1]
