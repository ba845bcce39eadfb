"""Conditionals: each branch is rewritten by itself, and all return one layout."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from jax import lax

from sod2jax import _compat
from sod2jax._compat import Jaxpr, JaxprEqn
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import register_pad_rule
from sod2jax.rewrite.padded import Fill, Padded

Facts = tuple[Mapping[int, Fill], bool]  # fill by axis; whether no lane is below zero


@register_pad_rule("cond")
def _cond(ctx: Context, eqn: JaxprEqn, index: Padded, *operands: Padded) -> list[Padded]:
    """Rebuilds the conditional over rewritten branches, whose outputs are compacted to prefixes.

    The index is a scalar, so it has no pad lanes, and one branch serves all lanes. The operands
    are closed over: masks that they have already are used in every branch.
    """
    traced: list[list[Facts]] = []
    bodies = [_body(ctx, eqn, jaxpr, operands, traced) for jaxpr in eqn.params["branches"]]
    arrays = _select(eqn.params.get("branches_platforms"), index, bodies)
    shapes = [ctx.out_shape(k) for k in range(len(eqn.outvars))]
    return [
        _common(array, shape, facts)
        for array, shape, facts in zip(arrays, shapes, zip(*traced, strict=True), strict=True)
    ]


def _body(
    ctx: Context, eqn: JaxprEqn, jaxpr: Jaxpr, operands: Sequence[Padded], traced: list[list[Facts]]
) -> Callable[[], list[jax.Array]]:
    def run() -> list[jax.Array]:
        with ctx.scope():
            results = ctx.born(eqn, [ctx.compact(p) for p in ctx.run(jaxpr, operands)])
            ctx.note_reads(results)
            traced.append([(p.pad_fills, p.nonnegative) for p in results])
            return [
                _compat.with_weak_type(p.array, var.aval)
                for p, var in zip(results, eqn.outvars, strict=True)
            ]

    return run


def _select(
    platforms: Sequence[Sequence[str] | None] | None,
    index: Padded,
    bodies: Sequence[Callable[[], Any]],
) -> list[jax.Array]:
    """Chooses by index, clamped as ``lax.switch`` does, or by the platform compiled for."""
    if platforms is None:
        return lax.switch(index.array, bodies)
    named = {
        name: body for names, body in zip(platforms, bodies, strict=True) for name in names or ()
    }
    default = next((b for names, b in zip(platforms, bodies, strict=True) if names is None), None)
    return lax.platform_dependent(default=default, **named)


def _common(array: jax.Array, shape: Sequence[Any], facts: Sequence[Facts]) -> Padded:
    """What is known of a result whichever branch it came from."""
    fills, nonnegative = zip(*facts, strict=True)
    met = {k: functools.reduce(Fill.meet, [of_one[k] for of_one in fills]) for k in fills[0]}
    return Padded.prefix(array, shape, fills=met, nonnegative=all(nonnegative))
