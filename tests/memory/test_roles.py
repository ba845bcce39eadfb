"""The table of roles, beside what XLA makes of the primitives that it names."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from sod2jax.ir.vocabulary import CALLS
from sod2jax.memory.roles import EXPENSIVE, IN_PLACE, REPEATS, ROLES, Role

X = jax.ShapeDtypeStruct((64, 64), jnp.float32)


def test_calls_are_inlined_and_have_no_role():
    assert not set(CALLS) & (set(ROLES) | set(IN_PLACE))


def test_what_is_not_computed_twice_can_be_fused():
    assert {ROLES[name] for name in EXPENSIVE} <= {Role.POINTWISE, Role.REINDEX}


def test_what_repeats_elements_moves_them():
    assert {ROLES[name] for name in REPEATS} == {Role.REINDEX}


def test_what_works_in_place_is_a_whole_array_or_an_update():
    roles = {name: ROLES.get(name, Role.OPAQUE) for name in IN_PLACE}
    assert {name for name, role in roles.items() if role is not Role.OPAQUE} == {
        "dynamic_update_slice"
    }


# One primitive between a cheap one and a reduction: XLA fuses it into the latter, or writes it.
SHOWN = {
    "mul": lambda x: x * x,
    "tanh": jnp.tanh,
    "reshape": lambda x: x.reshape(32, 128),
    "broadcast_in_dim": lambda x: jnp.broadcast_to(x[None], (3, 64, 64)),
    "gather": lambda x: x[jnp.array([1, 5, 2])],
    "slice": lambda x: x[3:50],
    "sort": lambda x: jnp.sort(x, 1),
    "fft": lambda x: jnp.fft.fft(x).real,
}


@pytest.mark.parametrize("name", SHOWN)
def test_xla_writes_what_does_not_fuse(name):
    def fun(x):
        return SHOWN[name](jnp.abs(x)).max()

    assert name in {eqn.primitive.name for eqn in _all(jax.make_jaxpr(fun)(X).eqns)}
    compiled = jax.jit(fun).lower(X).compile()
    fuses = ROLES.get(name, Role.OPAQUE) not in (Role.OPAQUE, Role.REDUCE)
    assert (compiled.memory_analysis().temp_size_in_bytes < 4 * 64 * 64) == fuses


def _all(eqns):
    for eqn in eqns:
        yield eqn
        for value in eqn.params.values():
            if hasattr(value, "jaxpr"):
                yield from _all(value.jaxpr.eqns)
