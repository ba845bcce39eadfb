from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from tests.rdp.concrete import outputs

BS = ("b, s", np.float32)

VALUES = {
    "count": (lambda x: (x > 0).sum(1), "0..s"),
    "count_all": (lambda x: (x > 0).sum(), "0..b*s"),
    "sum": (lambda x: (jnp.arange(x.shape[1]) - 1).sum(), "-s..s**2 - 2*s"),
    "max": (lambda x: jnp.arange(x.shape[1]).max(), "0..s - 1"),
    "min": (lambda x: jnp.arange(x.shape[1]).min(), "0..s - 1"),
    "maybe_empty": (lambda x: jnp.arange(x.shape[1] - 1).max(initial=-9), "-9..2147483647"),
    "float": (lambda x: x.sum(), "nac"),
}


@pytest.mark.parametrize("name", VALUES)
def test_value(name):
    function, expected = VALUES[name]
    facts, (out,) = outputs(function, BS)
    assert str(facts.value(out)) == expected


def test_flow_and_demand():
    facts, (out,) = outputs(lambda x: x.sum(0)[:1], BS)
    assert facts.flow(out) == (frozenset(),)
    assert str(facts.demand(facts.jaxpr.invars[0])) == "[:, 0:1]"
    facts, (out,) = outputs(lambda x: x.max(0), BS)
    assert facts.flow(out) == ({(0, 1)},)
