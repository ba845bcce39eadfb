from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.rdp.concrete import outputs

S, SI = ("s", np.float32), ("s", np.int32)


def n(x):
    return x.shape[0]


def upto(x):
    return jnp.arange(x.shape[0])


VALUES = {
    "shift": (lambda x: upto(x) * 2 - 3, S, "-3..2*s - 5"),
    "negated": (lambda x: -upto(x), S, "1 - s..0"),
    "product": (lambda x: (upto(x) - 2) * (upto(x) + 1), S, "-2*s..max(s - 3, s**2 - 3*s)"),
    "clip": (lambda x: jnp.clip(x, -1, 9), SI, "-1..9"),
    "one_sided": (lambda x: jnp.maximum(x, 0), SI, "0..2147483647"),
    "absolute": (lambda x: abs(jnp.clip(x, -7, 3)), SI, "0..7"),
    "square": (lambda x: lax.square(jnp.clip(x, -7, 3)), SI, "0..49"),
    "power": (lambda x: jnp.clip(x, -2, 3) ** 2, SI, "0..9"),
    "sign": (lambda x: jnp.sign(upto(x) + 1), S, "1"),
    "always": (lambda x: upto(x) < n(x), S, "1"),
    "never": (lambda x: upto(x) == n(x), S, "0"),
    "sometimes": (lambda x: upto(x) < 3, S, "nac"),
    "and": (lambda x: (upto(x) >= 0) & (upto(x) < n(x)), S, "1"),
    "not": (lambda x: ~(upto(x) < 0), S, "1"),
    "bits": (lambda x: x & 7, SI, "nac"),
    "low_bits": (lambda x: upto(x) & 7, S, "0..min(7, s - 1)"),
    "complement": (lambda x: ~upto(x), S, "-s..-1"),
    "select": (lambda x: jnp.where(x > 0, upto(x), -1), S, "-1..s - 1"),
    "decided": (lambda x: jnp.where(upto(x) < 0, upto(x) + n(x), upto(x)), S, "0..s - 1"),
    "quotient": (lambda x: lax.div(upto(x), 4), S, "0..(s - 1)//4"),
    "by_size": (lambda x: lax.rem(upto(x), n(x)), S, "0..s - 1"),
    "wraps": (lambda x: upto(x).astype(jnp.int8) + 120, S, "nac"),
    "narrow": (lambda x: upto(x).astype(jnp.int8), S, "0..s - 1"),
    "to_bool": (lambda x: (upto(x) + 1).astype(bool), S, "1"),
    "float": (lambda x: x + 1, S, "nac"),
}


@pytest.mark.parametrize("name", VALUES)
def test_value(name):
    function, spec, expected = VALUES[name]
    facts, (out,) = outputs(function, spec, constraints=("s <= 100", "s >= 2"))
    assert str(facts.value(out)) == expected


def test_elements_of_a_vector_are_combined_one_by_one():
    def function(x):
        return jnp.array([x.shape[0], 2, x.shape[1]]) * 2 - jnp.arange(3)

    facts, (out,) = outputs(function, ("b, s", np.float32))
    assert str(facts.value(out)) == "(2*b, 3, 2*s - 2)"


def test_flow_of_broadcast_operands():
    facts, (out,) = outputs(lambda x, y: x[:, None] + y[None], ("b", np.float32), ("s", np.float32))
    assert facts.flow(out) == ({(0, 0)}, {(1, 0)})


def test_change_of_width_keeps_the_leading_axes():
    facts, (out,) = outputs(lambda x: lax.bitcast_convert_type(x, jnp.int8), S)
    assert facts.flow(out) == ({(0, 0)}, frozenset())
