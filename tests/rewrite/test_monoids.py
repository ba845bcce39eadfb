"""Identities change nothing, and reducers are recognised."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from sod2jax.rewrite.monoids import IDENTITY, OPERATORS, monoid_of

BITWISE = {"and", "or", "xor"}
FLOATS = ("float32", "bfloat16", "float8_e4m3fn", "float8_e5m2")
CASES = [
    (monoid, dtype)
    for monoid in IDENTITY
    for dtype in ("bool", "int8", "uint8", "int32", *(() if monoid in BITWISE else FLOATS))
    if dtype != "bool" or monoid in BITWISE | {"max", "min"}
]


@pytest.mark.parametrize(("monoid", "dtype"), CASES)
def test_an_identity_changes_nothing(monoid, dtype):
    if dtype == "bool":
        values = [False, True]
    elif jnp.issubdtype(dtype, np.integer):
        info = jnp.iinfo(dtype)
        values = [int(info.min), int(info.max), 0, 1]
    else:
        values = [float(jnp.finfo(dtype).min), float(jnp.finfo(dtype).max), 0.0, 1.5]
        values += [np.inf, -np.inf] if dtype in ("float32", "bfloat16", "float8_e5m2") else []
    array = jnp.asarray(np.array(values).astype(dtype))
    filler = lax.full(array.shape, IDENTITY[monoid](array.dtype), array.dtype)
    for a, b in ((array, filler), (filler, array)):
        assert OPERATORS[monoid](a, b).tolist() == array.tolist()


@pytest.mark.parametrize(
    ("reducer", "monoid"),
    [
        (lax.add, "sum"),
        (lambda x, y: y * x, "prod"),
        (lax.max, "max"),
        (lax.sub, None),
        (lambda x, y: x + x, None),
        (lambda x, y: x + 1, None),
        (lambda x, y: (x + y) + y, None),
    ],
)
def test_reducers_of_one_primitive_are_recognised(reducer, monoid):
    assert monoid_of(jax.make_jaxpr(reducer)(1.0, 2.0).jaxpr) == monoid
