"""flax.linen variables: dictionaries and FrozenDicts, mutable collections, random streams."""

from __future__ import annotations

import flax.core
import flax.linen as nn
import jax
import numpy as np
import pytest

from tests.arguments.trees.compare import SIZES, compare, normal


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.Dense(8)(x)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
        return nn.Dropout(0.5, deterministic=not train)(nn.relu(x))


NET = Net()
VARIABLES = NET.init(jax.random.key(0), normal(2, 4), False)


def train(variables, x, key):
    return NET.apply(variables, x, True, mutable=["batch_stats"], rngs={"dropout": key})


def evaluate(variables, x):
    return NET.apply(variables, x, False)


@pytest.mark.parametrize(
    ("make", "key"),
    [(dict, jax.random.key), (flax.core.freeze, jax.random.PRNGKey)],
    ids=["dict, typed key", "FrozenDict, raw key"],
)
def test_training_returns_mutable_collections(make, key):
    calls = [(make(VARIABLES), normal(n, 4), key(n)) for n in (5, 2, 16)]
    stats = compare(train, calls, shapes=(None, "b, 4", None))
    assert (stats.traces, stats.compiles) == (1, 1)


def test_the_bare_decorator_takes_variables():
    assert compare(evaluate, [(VARIABLES, normal(n, 4)) for n in SIZES]).traces == 2


def test_each_kind_of_dictionary_is_a_program():
    calls = [(make(VARIABLES), normal(n, 4)) for make in (dict, flax.core.freeze) for n in SIZES]
    assert compare(evaluate, calls, shapes=(None, "b, 4")).traces == 2


def test_a_method_of_a_bound_module_and_its_gradient():
    def step(params, stats, x, y):
        def loss(params):
            variables = {"params": params, "batch_stats": stats}
            out, updates = NET.apply(
                variables, x, True, mutable=["batch_stats"], rngs={"dropout": jax.random.key(0)}
            )
            return ((out.sum(-1) - y) ** 2).mean(), updates["batch_stats"]

        return jax.value_and_grad(loss, has_aux=True)(params)

    # some rows at least: the scale of a batch of one or two is no more than rounding
    calls = [
        (VARIABLES["params"], VARIABLES["batch_stats"], normal(n, 4), np.ones(n, np.float32))
        for n in (9, 5, 17)
    ]
    assert compare(step, calls).traces == 2
