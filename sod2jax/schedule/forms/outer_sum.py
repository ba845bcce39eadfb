"""Sums over the outermost axis of arrays with several others.

XLA's CPU backend runs them element by element of the result, from one end of memory to the other:
5 to 40 ns for each number that is read, where a loop over the result takes 0.2.
"""

from __future__ import annotations

import math
from typing import Any

from jax import lax

from sod2jax._compat import JaxprEqn
from sod2jax.schedule.forms.form import Form, in_pairs, is_accumulated, register_form

_LEAST_KEPT = 4096  # elements of the result: fewer stay in the fastest cache
_AT_ONCE = 16  # rows that are added in one loop


@register_form("cpu", "reduce_sum")
def _outer_sum(eqn: JaxprEqn) -> Form | None:
    operand, out = eqn.invars[0].aval, eqn.outvars[0].aval
    is_outer = tuple(eqn.params["axes"]) == (0,) and len(operand.shape) > 2
    if not is_outer or not is_accumulated(operand.dtype) or operand.dtype.itemsize < 4:
        return None
    if operand.shape[0] < 2 or math.prod(out.shape) < _LEAST_KEPT:
        return None
    return Form(
        f"a sum over {operand.shape[0]} rows as sums of {_AT_ONCE} rows",
        _summed,
        "each is one loop over the result",
    )


def _summed(x: Any) -> Any:
    while x.shape[0] > 1:
        rows = x.shape[0]
        step = min(rows, _AT_ONCE)
        groups = rows // step
        whole = lax.slice_in_dim(x, 0, groups * step)
        grouped = lax.reshape(whole, (groups, step, *x.shape[1:]))
        parts = (lax.index_in_dim(grouped, k, 1, keepdims=False) for k in range(step))
        summed = in_pairs(lax.add, parts)
        rest = lax.slice_in_dim(x, groups * step, rows)
        x = lax.concatenate([summed, rest], 0) if rest.shape[0] else summed
    return lax.squeeze(x, (0,))
