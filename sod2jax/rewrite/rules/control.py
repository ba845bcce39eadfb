"""Calls and control flow."""

from __future__ import annotations

from typing import Any

from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import register_pad_rule
from sod2jax.rewrite.padded import Padded

# Primitives that only wrap a jaxpr, and the parameter that holds it.
_CALLS = {
    "jit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "eval_jaxpr": "jaxpr",
    "remat2": "jaxpr",
}


@register_pad_rule(*_CALLS)
def _call(cx: Context, eqn: Any, *operands: Padded) -> list[Padded]:
    """Inlines the body; derivatives were taken before the rewrite, so their rules are not needed."""
    return cx.run(eqn.params[_CALLS[eqn.primitive.name]], operands)
