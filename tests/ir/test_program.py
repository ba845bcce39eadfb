"""A program with another jaxpr: which constants it keeps."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from sod2jax import _compat
from sod2jax.ir.program import positions
from tests.harnesses import Arg
from tests.passes.programs import program


def test_positions_are_those_of_the_objects_themselves() -> None:
    a, b, same = np.zeros(2), np.ones(2), np.zeros(2)
    assert positions([b, a], [a, b]) == [1, 0]
    assert positions([same], [a, same]) == [1]
    with pytest.raises(KeyError):
        positions([same], [a, b])


def test_constants_follow_the_jaxpr() -> None:
    first, second = jnp.arange(3.0), jnp.arange(3.0) + 1

    def fun(x: Any) -> Any:
        return x[:1] * first, x[:1] * second

    whole = program(fun, Arg("s"), s=8)
    assert len(whole.constants) == 2
    keep = [v for v, c in zip(whole.jaxpr.constvars, whole.jaxpr.consts, strict=True)][1:]
    last = whole.jaxpr.outvars[1:]
    eqns = [eqn for eqn in whole.jaxpr.eqns if whole.jaxpr.outvars[0] not in eqn.outvars]
    cut = _compat.with_constants(
        _compat.with_equations(whole.jaxpr, eqns, last), keep, list(whole.jaxpr.consts)[1:]
    )
    part = whole.with_jaxpr(cut, name="part")
    assert part.name == "part" and part.region is whole.region
    (kept,) = part.constants
    assert kept is whole.constants[1]
    assert part.out_shapes == whole.out_shapes[1:]
