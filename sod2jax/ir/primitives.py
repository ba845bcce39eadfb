"""Primitives of our own: rows that a gate turns on, and sizes that depend on values.

``gated_rows`` runs a part of a program only for the rows whose gate asks for it. A *row* is one
position along an axis of the batch. The primitive means exactly the select that it stands for:
where the gate of a row is ``cases[k]``, the row's results are those of ``bodies[k]`` on the row's
own slices; elsewhere they are the row of the initial arrays. The passes make it, and the rewrite
makes it a loop over the active rows: it is never lowered.

``eigh_any_basis`` and ``svd_any_basis`` are those of JAX where the program does not depend on which
vectors of a value the solver chooses. The passes make them too.

``value_as_dim`` says that a symbol's true size is a value of the program, the inverse of JAX's
``dim_as_value``.

``host_value`` is a number that the host computes from sizes, until the trace makes it an input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jax import lax

from sod2jax import _compat
from sod2jax._compat import JaxprEqn
from sod2jax.errors import DataDependentSizeError
from sod2jax.ir import dims

__all__ = [
    "ANY_BASIS",
    "EIGH_ANY_BASIS",
    "SVD_ANY_BASIS",
    "gated_rows_p",
    "host_value_p",
    "initial_count",
    "made_by",
    "value_as_dim_p",
]


def initial_count(params: dict[str, Any]) -> int:
    """How many operands after the gate are initial arrays: one for each result, or none."""
    return len(params["out_axes"]) if params["has_initial"] else 0


def _results(
    gate: Any, *operands: Any, bodies: Sequence[Any], out_axes: Sequence[int], **params: Any
) -> list[Any]:
    del operands, params
    (rows,) = gate.shape
    avals = [atom.aval for atom in bodies[0].outvars]
    return [
        aval.update(shape=(*aval.shape[:axis], rows, *aval.shape[axis + 1 :]))
        for aval, axis in zip(avals, out_axes, strict=True)
    ]


gated_rows_p = _compat.Primitive("gated_rows")
gated_rows_p.multiple_results = True
gated_rows_p.def_abstract_eval(_results)
"""``gated_rows(gate, *initial, *operands)``, with the parameters

- ``bodies``: closed jaxprs of all operands, which give all results, for ``block`` rows at once;
- ``cases``: the value of the gate that asks for each body;
- ``axes``: the axis of rows of each operand, None for one that every row sees whole;
- ``out_axes``: the axis of rows of each result;
- ``has_initial``: whether there is an initial array for each result; without, a body serves every
  value of the gate;
- ``block``: how many rows a body takes.

The gate is bool or int32 [rows]; the operands' axes of rows have ``rows`` positions, those of the
bodies' inputs and results have ``block``.
"""


def _any_basis(primitive: Any) -> Any:
    """A primitive of the same operands, parameters and results."""
    free = _compat.Primitive(f"{primitive.name}_any_basis")
    free.multiple_results = True
    free.def_effectful_abstract_eval(primitive.abstract_eval)
    return free


EIGH_ANY_BASIS, SVD_ANY_BASIS = _any_basis(lax.linalg.eigh_p), _any_basis(lax.linalg.svd_p)
ANY_BASIS = {"eigh": EIGH_ANY_BASIS, "svd": SVD_ANY_BASIS}
"""By the names of those that they stand for."""


def _size_aval(count: Any, *, dim: Any, name: str) -> Any:
    del dim, name
    return _compat.array_aval((), count.dtype)


def _refuse_batch(*args: Any, **params: Any) -> Any:
    del args
    raise DataDependentSizeError(
        f"the size '{dims.from_jax(params['dim'])}' depends on values, and differs from row to row "
        "under vmap: call the function row by row, or keep masks in place of shorter arrays"
    )


def _size(count: Any, *, dim: Any, name: str) -> Any:
    del dim, name
    return count


value_as_dim_p = _compat.new_primitive(
    "value_as_dim", _size_aval, _size, _refuse_batch, stays_in_place=True
)
"""``value_as_dim(count, dim=, name=)``: the dimension ``dim`` has the size ``count``, an int32.

``name`` is the symbol that is made for it; ``dim`` is another dimension where the size was known
after all."""


def _refuse_to_run(**params: Any) -> Any:
    raise DataDependentSizeError(f"{params['value']} is part of another trace")


host_value_p = _compat.new_primitive(
    "host_value", lambda *, value, aval: aval, _refuse_to_run, _refuse_batch
)
"""``host_value(value=, aval=)``: what the host computes (see ``tracing.host_values``)."""


def made_by(eqn: JaxprEqn) -> str | None:
    """The symbol whose size an equation is the first to know."""
    if eqn.primitive is not value_as_dim_p:
        return None
    name = str(dims.from_jax(eqn.params["dim"]))
    return name if name == eqn.params["name"] else None
