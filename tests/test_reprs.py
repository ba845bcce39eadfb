"""Whatever stands between a call and its result prints in a few words."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
import sod2jax.numpy as snp

LONGEST = 400


def small(x):
    return jnp.exp(x).sum(0) if x.shape[0] != 3 else x[0]


def selecting(x):
    return snp.compress(x[:, 0] > 0, x, axis=0) * 2


def with_many_arguments(x, parameters):
    return sum(parameters.values()) * x


def values(fun, *rest) -> dict[str, Any]:
    """Every value that a call leads to, by its type."""
    specs = ("n, 4", *[None] * len(rest))
    f = sod2jax.optimize(fun, shapes=specs, constraints=("n <= 64",))
    args = (np.ones((5, 4), np.float32), *rest)
    f(*args)
    call = f.planner.read(args, {})
    choice = f.planner.choose(call)
    stack = [
        f,
        f.planner,
        f.planner._search,
        f.planner._counters,
        call,
        choice,
        choice.plan.run(call.leaves, False),
        f.options,
        f.stats(),
    ]
    stack += f.planner.specialisations[0].ready
    stack += [executable.memory_plan() for executable in f.planner.specialisations[0].ready]
    seen: dict[str, Any] = {}
    while stack:
        value = stack.pop()
        if isinstance(value, tuple):
            stack += value
        if not type(value).__module__.startswith("sod2jax") or type(value).__name__ in seen:
            continue
        seen[type(value).__name__] = value
        if dataclasses.is_dataclass(value):
            stack += [getattr(value, field.name) for field in dataclasses.fields(value)]
    return seen


@pytest.mark.parametrize(
    "program",
    [(small,), (selecting,), (with_many_arguments, {f"p{k}": np.float32(k) for k in range(99)})],
    ids=lambda program: program[0].__name__,
)
def test_values_between_call_and_result_print_in_a_few_words(program):
    seen = values(*program)
    assert {
        "OptimizedFunction",
        "Choice",
        "Specialisation",
        "Program",
        "Facts",
        "Planner",
        "Search",
    } <= seen.keys()
    long = {name: len(repr(value)) for name, value in seen.items() if len(repr(value)) > LONGEST}
    assert not long
    assert not [name for name, value in seen.items() if " at 0x" in repr(value)]
