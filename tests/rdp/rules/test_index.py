from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.rdp.concrete import outputs

F32, I32 = np.float32, np.int32
BS = ("b, s", F32)

DEMANDS = {
    "first": (lambda x: x[:, 0], "[:, 0:1]"),
    "last": (lambda x: x[:, -1], "[:, s - 1:s]"),
    "corner": (lambda x: x[0, 1], "[0:1, 1:2]"),
    "rows": (lambda x: x[:, jnp.arange(3)], "[:, 0:3]"),
    "window": (lambda x: lax.dynamic_slice(x, (0, 2), (x.shape[0], 2)), "[:, 2:4]"),
    "unknown": (lambda x: x[:, x.sum().astype(I32)], "[:, :]"),
    "may_leave": (lambda x: x[:, jnp.arange(9)], "[:, :]"),
}


@pytest.mark.parametrize("name", DEMANDS)
def test_demand(name):
    function, expected = DEMANDS[name]
    facts, _ = outputs(function, BS, constraints=("s >= 4",))
    assert str(facts.demand(facts.jaxpr.invars[0])) == expected


VALUES = {
    "vector": (lambda x: jnp.arange(x.shape[1])[jnp.arange(x.shape[1]) // 2], "0..s - 1"),
    "element": (lambda x: jnp.array([x.shape[0], 5, 6])[1], "5"),
    "filled": (lambda x: jnp.arange(x.shape[1]).at[jnp.arange(3) + 2].get(mode="fill"), "nac"),
    "inside": (lambda x: jnp.arange(x.shape[1]).at[jnp.arange(3)].get(mode="fill"), "0..s - 1"),
    "clamped": (
        lambda x: lax.dynamic_slice(jnp.arange(x.shape[1]), (x[0, 0].astype(I32),), (2,)),
        "0..s - 1",
    ),
    "updated": (lambda x: jnp.arange(x.shape[1]).at[0].set(-5), "-5..s - 1"),
    "added": (lambda x: jnp.arange(x.shape[1]).at[0].add(7), "nac"),
    "largest": (lambda x: jnp.arange(x.shape[1]).at[0].max(3), "0..max(3, s - 1)"),
}


@pytest.mark.parametrize("name", VALUES)
def test_value(name):
    function, expected = VALUES[name]
    facts, (out,) = outputs(function, BS, constraints=("s >= 3",))
    assert str(facts.value(out)) == expected


FLOWS = {
    "embedding": (
        lambda t, e: e[t],
        (("b, s", I32), ("9, 4", F32)),
        ({(0, 0)}, {(0, 1)}, {(1, 1)}),
    ),
    "along_axis": (
        lambda i, x: jnp.take_along_axis(x, i, 1),
        (("b, s", I32), BS),
        ({(0, 0), (1, 0)}, {(0, 1)}),
    ),
    "slice": (
        lambda i, x: lax.dynamic_slice_in_dim(x, i, 2, 1),
        (("", I32), ("b, s + 2", F32)),
        ({(1, 0)}, set()),
    ),
    "update": (
        lambda i, x: lax.dynamic_update_slice_in_dim(x, x[:, :1], i, 1),
        (("", I32), BS),
        ({(1, 0)}, set()),
    ),
    "set": (lambda y, x: x.at[:, 1].set(y), (("b", F32), BS), ({(0, 0), (1, 0)}, {(1, 1)})),
}


@pytest.mark.parametrize("name", FLOWS)
def test_flow(name):
    function, specs, expected = FLOWS[name]
    facts, (out,) = outputs(function, *specs)
    assert facts.flow(out) == expected
