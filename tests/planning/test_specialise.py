"""A program with its executables: every bucket that a call can need, and no other."""

from __future__ import annotations

import numpy as np
import pytest
from jax import lax

import sod2jax
import sod2jax.numpy as snp
from sod2jax.buckets.bucket import Bucket


def first_three(x):
    v = snp.compress(x > 0, x)
    return lax.top_k(v, min(3, v.shape[0]))[0]


def second_to_fourth(x):
    v = snp.compress(x > 0, x)
    return lax.dynamic_slice(v, (1,), (min(3, v.shape[0]),))


@pytest.mark.parametrize("fun", [first_three, second_to_fourth])
@pytest.mark.parametrize("cut", ["always", "never"])
def test_a_bucket_that_a_regime_cannot_reach_is_not_compiled(fun, cut):
    f = sod2jax.optimize(
        fun, shapes=("n",), buckets={"n": (1, 2, 16)}, cut=cut, poison=True, on_unsupported="error"
    )
    f.compile(np.ones(1, np.float32))
    for n in (1, 2, 3, 9):
        x = np.sin(np.arange(1.0, n + 1)).astype(np.float32)
        positive = np.sort(x[x > 0])[::-1] if fun is first_three else x[x > 0]
        count = min(3, len(positive))
        begin = 0 if fun is first_three else min(1, len(positive) - count)
        np.testing.assert_array_equal(f(x), positive[begin : begin + count])
    assert f.stats().exact_fallbacks == 0


def specialisation(fun, shape, *, shapes, **options):
    f = sod2jax.optimize(fun, shapes=shapes, **options)
    f.analyse(np.zeros(shape, np.float32))
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
