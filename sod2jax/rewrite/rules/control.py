"""Calls and copies: a jaxpr in a wrapper, lanes passed on."""

from __future__ import annotations

import contextlib
from typing import Any

import jax
from jax import lax

from sod2jax import _compat
from sod2jax._compat import JaxprEqn
from sod2jax.ir import foreign
from sod2jax.ir.jaxprs import scope_of
from sod2jax.ir.vocabulary import ANNOTATIONS, CALLS
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import register_pad_rule
from sod2jax.rewrite.padded import Padded


# One has a rule of its own; the other's mark is on its equation, which inlining would lose.
@register_pad_rule(*(CALLS - {"remat2", "xla_metadata_call"}))
def _call(ctx: Context, eqn: JaxprEqn, *operands: Padded) -> list[Padded]:
    """Inlines the body; derivatives were taken before, so their rules are not needed."""
    ((_, body),) = _compat.sub_jaxprs(eqn)
    with _scope(eqn):
        return ctx.run(body, operands)


def _scope(eqn: JaxprEqn) -> contextlib.AbstractContextManager[Any]:
    """The name under which JAX would lower the body."""
    name = scope_of(eqn)
    return jax.named_scope(name) if name else contextlib.nullcontext()


@register_pad_rule("call_hi_primitive")
def _hi_primitive(ctx: Context, eqn: JaxprEqn, *operands: Padded) -> list[Padded]:
    """Inlines what a primitive of jax 0.12's higher level expands to."""
    return ctx.run(foreign.opened(_compat.expanded(eqn)), operands)


@register_pad_rule("remat2")
def _checkpoint(ctx: Context, eqn: JaxprEqn, *operands: Padded) -> list[Padded]:
    """Inlines the body; in a backward pass behind a barrier, so that XLA computes it again."""
    if eqn.params["differentiated"]:
        operands = _behind_barrier(eqn.params["prevent_cse"], operands)
    with _scope(eqn):
        return ctx.run(eqn.params["jaxpr"], operands)


def _behind_barrier(
    which: bool | tuple[bool, ...], operands: tuple[Padded, ...]
) -> tuple[Padded, ...]:
    chosen = (which,) * len(operands) if isinstance(which, bool) else which
    hidden = [p for p, inside in zip(operands, chosen, strict=True) if inside]
    if not hidden:
        return operands
    arrays = iter(lax.optimization_barrier([p.array for p in hidden]))
    return tuple(
        p.with_array(next(arrays)) if inside else p
        for p, inside in zip(operands, chosen, strict=True)
    )


@register_pad_rule(*ANNOTATIONS)
def _copy(ctx: Context, eqn: JaxprEqn, *operands: Padded) -> list[Padded]:
    """Binds the primitive as it is: pad lanes pass as true lanes do."""
    arrays = ctx.bind(*(p.array for p in operands))
    return [p.with_array(array) for p, array in zip(operands, arrays, strict=True)]
