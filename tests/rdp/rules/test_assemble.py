from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.rdp.concrete import outputs

S = ("s", np.float32)

VALUES = {
    "iota": (lambda x: lax.iota(np.int32, x.shape[0]), "0..s - 1"),
    "iota_fixed": (lambda x: lax.iota(np.int32, 3), "(0, 1, 2)"),
    "iota_2d": (lambda x: lax.broadcasted_iota(np.int32, (x.shape[0], 5), 1), "0..4"),
    "size": (lambda x: jnp.asarray(2 * x.shape[0] + 1), "2*s + 1"),
    "vector": (lambda x: jnp.array([x.shape[0], 3]), "(s, 3)"),
    "part": (lambda x: jnp.array([x.shape[0], 3, 1, 0])[1:3], "(3, 1)"),
    "joined": (lambda x: jnp.concatenate([jnp.arange(x.shape[0]), jnp.array([-4])]), "-4..s - 1"),
    "padded": (lambda x: jnp.pad(jnp.arange(x.shape[0]), 2, constant_values=-1), "-1..s - 1"),
}


@pytest.mark.parametrize("name", VALUES)
def test_value(name):
    function, expected = VALUES[name]
    facts, (out,) = outputs(function, S)
    assert str(facts.value(out)) == expected


SHAPES = {
    "concatenate": (lambda x: jnp.concatenate([x, x[:1], x]), "[2*s + 1]"),
    "pad": (lambda x: jnp.pad(x, (1, x.shape[0])), "[2*s + 1]"),
    "tile": (lambda x: jnp.tile(x, 3), "[3*s]"),
    "slice": (lambda x: x[1:], "[s - 1]"),
    "strided": (lambda x: x[::2], "[(s + 1)//2]"),
    "split": (lambda x: jnp.split(x[: x.shape[0] // 2 * 2], 2)[1], "[s//2]"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shape(name):
    function, expected = SHAPES[name]
    facts, (out,) = outputs(function, S, constraints=("s >= 2",))
    assert str(facts.shape(out)) == expected


DEMANDS = {
    "tail": (lambda x: jnp.sin(x)[1:], "[1:s]"),
    "twice": (lambda x: jnp.sin(x)[2:][1:], "[3:s]"),
    "two_uses": (lambda x: (x[1:2], x[3:4]), "[1:4]"),
    "strided": (lambda x: x[1::2], "[1:2*(s//2)]"),
    "unused": (lambda x: jnp.arange(x.shape[0]), "dead"),
    "split": (lambda x: jnp.split(jnp.stack([x, x, x, x]), 2)[0], "[:]"),
    "half": (lambda x: x[: x.shape[0] // 2], "[0:s//2]"),
}


@pytest.mark.parametrize("name", DEMANDS)
def test_demand(name):
    function, expected = DEMANDS[name]
    facts, _ = outputs(function, S, constraints=("s >= 4",))
    assert str(facts.demand(facts.jaxpr.invars[0])) == expected


def test_demand_on_split():
    facts, _ = outputs(lambda x: lax.split(x, (3, 1, 4), 1)[1], ("s, 8", np.float32))
    assert str(facts.demand(facts.jaxpr.invars[0])) == "[:, 3:4]"


def test_flow_moves_with_stack():
    facts, (out, parts) = outputs(
        lambda x, y: (jnp.stack([x, y[0]], 1), jnp.unstack(y)[1]), S, ("2, s", np.float32)
    )
    assert facts.flow(out) == ({(0, 0), (1, 1)}, frozenset())
    assert facts.flow(parts) == ({(1, 1)},)
