"""What rules that cut and join arrays emit: plain operations wherever no true size is involved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from sod2jax import _compat
from sod2jax.arguments.signature import Leaf
from sod2jax.ir import dims
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.program import Program
from sod2jax.rewrite import padded_function, padded_shapes
from sod2jax.target import Target
from sod2jax.tracing.regimes import Regime
from sod2jax.tracing.trace import trace

BUCKET = {"b": 4, "s": 8, "t": 6}
MOVES = {
    "concatenate",
    "dynamic_slice",
    "dynamic_update_slice",
    "gather",
    "pad",
    "rev",
    "select_n",
    "slice",
}


def emitted(fun: Callable[..., Any], *specs: str) -> Counter[str]:
    """How often each data movement occurs in the rewritten form of a function of float32 arrays."""
    shapes = [tuple(map(dims.parse, spec.split(","))) for spec in specs]
    names = sorted({name for shape in shapes for d in shape for name in dims.symbols_of(d)})
    limits = [Comparison.parse(f"{name} <= {BUCKET[name]}") for name in names]
    limits += [Comparison.parse(f"{name} >= 4") for name in names]
    leaves = [
        Leaf(f"x{k}", jax.core.ShapedArray((1,) * len(shape), np.dtype(np.float32)), shape)
        for k, shape in enumerate(shapes)
    ]
    arguments = [np.zeros((1,) * len(shape), np.float32) for shape in shapes]
    program = trace(fun, arguments, Regime(tuple(leaves), tuple(limits)), "f")
    assert isinstance(program, Program)
    run = padded_function(
        program, program.region, lambda atom: None, Target("cpu"), lambda records: None
    )
    inputs = [np.zeros(shape, np.float32) for shape in padded_shapes(program, program.region)]
    jaxpr = jax.make_jaxpr(run)([np.int32(4)] * len(names), program.constants, inputs)
    return Counter(name for name in _primitives(jaxpr) if name in MOVES)


def _primitives(jaxpr: Any) -> Iterator[str]:
    for eqn in jaxpr.eqns:
        yield eqn.primitive.name
        for _, inner in _compat.sub_jaxprs(eqn):
            yield from _primitives(inner)


def pad(x: jax.Array, low: int, high: int) -> jax.Array:
    return lax.pad(x, np.float32(0), [(low, high, 0)])


def cut(x: jax.Array, start: Any) -> jax.Array:
    return lax.slice_in_dim(x, start, None)


@pytest.mark.parametrize(
    ("fun", "specs", "expected"),
    [
        (lambda x: lax.slice_in_dim(x, 0, 2, axis=2), ["b, s, 4"], {"slice": 1}),
        (lambda x: lax.slice_in_dim(x, 0, 3, axis=1), ["b, s"], {"slice": 1}),
        (lambda x: lax.slice_in_dim(x, 1, None, axis=1), ["b, s"], {"slice": 1}),
        (lambda x: lax.slice_in_dim(x, 0, None, 2, 1), ["b, s"], {"slice": 1}),
        (lambda x: jnp.split(x, 2, axis=-1), ["b, s, 4"], {"slice": 2}),
        (lambda x: jnp.pad(x, ((0, 0), (0, 0), (1, 1))), ["b, s, 4"], {"pad": 1}),
        (lambda x: jnp.pad(x, ((0, 0), (1, 0))), ["b, s"], {"pad": 1}),
        (lambda x, y: jnp.concatenate([x, y], 2), ["b, s, 4", "b, s, 2"], {"concatenate": 1}),
        (lambda x, y: jnp.concatenate([x, y], 1), ["b, 1", "b, s"], {"concatenate": 1}),
        (lambda x: lax.rev(x, (2,)), ["b, s, 4"], {"rev": 1}),
        (lambda x: lax.rev(x.reshape(-1, 4), (1,)).reshape(x.shape), ["b, s, 4"], {"rev": 1}),
        (lambda x: jnp.tile(x, (1, 2)).reshape(x.shape[0], 2, -1), ["b, s"], {}),
    ],
)
def test_stays_plain_where_no_true_size_matters(
    fun: Callable[..., Any], specs: list[str], expected: dict[str, int]
) -> None:
    assert emitted(fun, *specs) == expected


def test_padding_after_the_true_lanes_needs_one_mask() -> None:
    assert emitted(lambda x: jnp.pad(x, ((0, 0), (1, 2))), "b, s")["select_n"] == 1


def test_padding_after_lanes_that_hold_the_value_needs_no_other_mask() -> None:
    assert emitted(lambda x: pad(pad(x, 1, 2), 0, 3), "s")["select_n"] == 1


def test_nothing_but_a_symbolic_step_needs_a_gather() -> None:
    joined = emitted(
        lambda x, y: cut(lax.concatenate([x, y, lax.rev(x, (0,))], 0), y.shape[0]), "s", "t"
    )
    assert "gather" not in joined
    stepped = emitted(lambda x, y: lax.slice(x, (0,), x.shape, (y.shape[0],)), "s*t", "t")
    assert stepped["gather"] == 1
