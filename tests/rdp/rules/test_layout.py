from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.rdp.concrete import outputs

BSD = ("b, s, 8", np.float32)
B, S, D = {(0, 0)}, {(0, 1)}, {(0, 2)}
NONE = frozenset()

FLOWS = {
    "transpose": (lambda x: x.transpose(2, 0, 1), (D, B, S)),
    "broadcast": (lambda x: jnp.broadcast_to(x[None], (3, *x.shape)), (NONE, B, S, D)),
    "squeeze": (lambda x: x[None].squeeze(0), (B, S, D)),
    "heads": (lambda x: x.reshape(*x.shape[:2], 2, 4), (B, S, NONE, NONE)),
    "heads_back": (lambda x: x.reshape(*x.shape[:2], 2, 4).reshape(x.shape), (B, S, NONE)),
    "merge": (lambda x: x.reshape(-1, 8), (NONE, D)),
    "ones": (lambda x: x.reshape(1, x.shape[0], 1, x.shape[1], 8), (NONE, B, NONE, S, D)),
    "reverse": (lambda x: lax.rev(x, (1,)), (B, NONE, D)),
}


@pytest.mark.parametrize("name", FLOWS)
def test_flow(name):
    function, expected = FLOWS[name]
    facts, (out,) = outputs(function, BSD)
    assert facts.flow(out) == expected


def test_vectors_keep_their_elements():
    def function(x):
        return jnp.array([x.shape[0], 7]).reshape(1, 2).reshape(2)

    facts, (out,) = outputs(function, BSD)
    assert facts.value_range(out) == (facts.value(out).every.low, 7)


def test_demand_follows_the_axes():
    facts, _ = outputs(lambda x: jnp.sin(x).transpose(1, 0, 2)[2], BSD, constraints=("s >= 4",))
    assert str(facts.demand(facts.jaxpr.invars[0])) == "[:, 2:3, :]"
