"""Facts through gated rows: along the rows, along the other axes, and the values."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from sod2jax import rdp
from sod2jax.passes.gates.compact import compact_gates
from sod2jax.rdp.values import Range
from sod2jax.target import Target
from tests.harnesses import Arg
from tests.harnesses.gates import GATE, IMAGES, MATRIX, TOKENS, along, attention, block
from tests.passes.programs import program

MASKED = {"b": 8, "h": 9, "w": 8}


def analysed(fun: Any, *args: Arg, **bounds: int) -> tuple[rdp.Facts, Any]:
    before = program(fun, *args, **bounds)
    after, _ = compact_gates(before, rdp.analyse(before.jaxpr, before.region), Target("cpu"))
    (eqn,) = [eqn for eqn in after.jaxpr.eqns if eqn.primitive.name == "gated_rows"]
    return rdp.analyse(after.jaxpr, after.region), eqn


def test_rows_stay_apart_and_windows_mix_the_rest() -> None:
    facts, eqn = analysed(lambda g, x: jnp.where(along(g, x), block(x), x), GATE, IMAGES, **MASKED)
    rows, *others = facts.flow(eqn.outvars[0])
    assert rows == {(0, 0), (1, 0)}
    assert others == [frozenset()] * 3
    assert facts.inputs(eqn.outvars[0]) == {0, 1}


def test_axes_that_a_body_keeps_apart_are_aligned_with_its_operands_alone() -> None:
    """Each position of the sequence is by itself; the gate is the same for all of them."""
    facts, eqn = analysed(
        lambda g, x: jnp.where(along(g, x), x @ MATRIX, x), GATE, TOKENS, b=8, s=40
    )
    assert facts.flow(eqn.outvars[0]) == ({(0, 0), (1, 0)}, {(1, 1)}, frozenset())


def test_a_value_that_every_row_reads_whole_mixes_rows() -> None:
    facts, eqn = analysed(
        lambda g, x, y: jnp.where(along(g, x), attention(x, y), x), GATE, TOKENS, TOKENS, b=8, s=40
    )
    rows, *_ = facts.flow(eqn.outvars[0])
    assert rows == {(0, 0), (1, 0)}
    assert facts.inputs(eqn.outvars[0]) == {0, 1, 2}

    facts, eqn = analysed(
        lambda g, x: jnp.where(along(g, x), attention(x, x), x), GATE, TOKENS, b=8, s=40
    )
    assert facts.flow(eqn.outvars[0])[0] == {(0, 0)}


def test_integers_are_those_of_the_body_and_of_the_initial_array() -> None:
    small = Arg(f"b, s, {len(MATRIX)}", np.int32)
    facts, eqn = analysed(
        lambda g, x: jnp.where(
            along(g, x), jnp.clip(x @ MATRIX.astype(np.int32), 2, 5), jnp.clip(x, 0, 3)
        ),
        GATE,
        small,
        b=8,
        s=40,
    )
    assert facts.value(eqn.outvars[0]).every == Range(0, 5)


def test_bodies_have_facts_of_their_own() -> None:
    facts, eqn = analysed(lambda g, x: jnp.where(along(g, x), block(x), x), GATE, IMAGES, **MASKED)
    (body,) = eqn.params["bodies"]
    for inner in body.eqns:
        assert facts.shape(inner.outvars[0]).constants[0] == 1
