"""The plan of a call of one executable."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import sod2jax
from sod2jax.buckets.bucket import Bucket
from sod2jax.options import Options
from sod2jax.planning.exact import Silent
from sod2jax.planning.planner import Planner
from sod2jax.stats import Counters


@pytest.mark.parametrize(("size", "bucket"), [(3, 8), (8, 8)])
def test_a_plan_knows_sizes_and_elements(size, bucket):
    options = Options(shapes=({"x": "s"}, None), buckets={"s": (8,)})
    planner = Planner(lambda tree, y: (tree["x"] * y, y), "f", options, Counters(), Silent())
    plan = planner.choose(planner.read(({"x": np.zeros(size)}, 1.0), {})).plan
    assert plan.bucket == Bucket.of({"s": bucket})
    assert plan.sizes.tolist() == [size]
    assert plan.sizes.dtype == np.int32
    assert plan.dynamic == (0,)
    assert plan.out_shapes == ((size,), ())
    assert plan.elements == (size, bucket)
    assert repr(plan) == f"WholePlan(f: s={size} in [s={bucket}])"


def test_a_plan_runs_in_a_larger_bucket_where_only_that_is_kept():
    f = sod2jax.optimize(lambda x: x * 2, shapes=("n",), max_executables=2)
    for size in (16, 64, 100):
        f(np.ones(size, np.float32))
    outcome = f.planner.choose(f.planner.read((np.ones(20, np.float32),), {})).plan.run(
        [np.ones(20, np.float32)], False
    )
    assert outcome.holds and outcome.result.shape == (20,)
    assert outcome.elements == (20, outcome.bucket["n"])
    assert outcome.bucket["n"] >= 64
    assert (np.asarray(outcome.result) == 2).all()
    assert isinstance(outcome.result, jax.Array)
