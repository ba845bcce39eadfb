"""A slice of a program again, on a block of its rows.

Shapes in parameters are changed where they hold the axis of rows, primitive by primitive; then JAX
infers every result anew, which must give the old shape with the new number of rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sod2jax import _compat
from sod2jax._compat import Atom, Jaxpr, JaxprEqn, Var
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.ir.jaxprs import dims_of, read, variables
from sod2jax.ir.vocabulary import CALLS
from sod2jax.rows.needs import jaxpr_needs, operand_needs, scan_needs, while_needs
from sod2jax.rows.reads import UNUSED, Mixed, Need, Row

# Parameters that hold the shape of the result.
_RESULT_SHAPES = {"broadcast_in_dim": "shape", "iota": "shape", "reshape": "new_sizes"}
# Parameters that hold a size for each axis of the first operand.
_OPERAND_SHAPES = {
    "dynamic_slice": "slice_sizes",
    "gather": "slice_sizes",
    "slice": "limit_indices",
}


def aval_of(aval: Any, need: Need, block: int) -> Any:
    """What is read of a value, for ``block`` rows at once."""
    if not isinstance(need, Row):
        return aval
    size = _times(block, need.inner, aval)
    return aval.update(shape=_with(aval.shape, need.axis, size))


def _times(block: int, inner: Dim, aval: Any) -> Any:
    """``block * inner`` as a dimension of JAX's."""
    size = dims.product((block, inner))
    if isinstance(size, int):
        return size
    like = next((d for d in aval.shape if _compat.is_symbolic(d)), None)
    if like is None:
        raise Mixed(f"rows of {inner} lanes have no dimension to be named after")
    (spelt,) = _compat.dimensions([dims.jax_text(size)], like)
    return spelt


def _with(items: Sequence[Any], at: int, item: Any) -> tuple[Any, ...]:
    return (*items[:at], item, *items[at + 1 :])


def equation_of_block(
    eqn: JaxprEqn,
    invars: Sequence[Atom],
    rows: Dim,
    block: int,
    outs: Sequence[Need],
    needs: Sequence[Need],
) -> JaxprEqn:
    """An equation on ``block`` rows, with new results.

    Args:
      eqn: the equation on all rows.
      invars: its operands, for ``block`` rows.
      rows: the number of rows that it has now.
      block: the number of rows that it gets.
      outs: what is read of each result.
      needs: what is read of each operand.

    Raises:
      Mixed: JAX infers something else than the same shapes with other rows.
    """
    params, avals = eqn.params, [var.aval for var in eqn.outvars]
    if any(isinstance(need, Row) for need in outs):
        given = [var.aval for var in invars]
        params = _params_of_block(eqn, given, rows, block, outs, needs)
        has_body = any(True for _ in _compat.sub_jaxprs(eqn))
        wanted = [aval_of(v.aval, n, block) for v, n in zip(eqn.outvars, outs, strict=True)]
        inferred = wanted if has_body else _inferred(eqn, given, params)
        for need, aval, want in zip(outs, inferred, wanted, strict=True):
            if isinstance(need, Row) and not _agree(aval, want, need.axis):
                raise Mixed(f"'{eqn.primitive.name}' gives {aval} for {block} rows, not {want}")
        pairs = zip(outs, inferred, wanted, strict=True)
        avals = [want if isinstance(need, Row) else aval for need, aval, want in pairs]
    outvars = list(map(_compat.new_variable, avals))
    return _compat.new_equation(eqn.primitive, invars, outvars, params, eqn, eqn.effects)


def _agree(inferred: Any, wanted: Any, axis: int) -> bool:
    """Whether rows and type are the same; other sizes, which do not vary, JAX may spell anew."""
    alike = (inferred.ndim, inferred.dtype) == (wanted.ndim, wanted.dtype)
    return alike and inferred.shape[axis] == wanted.shape[axis]


def _inferred(eqn: JaxprEqn, avals: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    try:
        with _compat.equation_scope(eqn):
            inferred, _ = eqn.primitive.abstract_eval(*avals, **params)
    except Exception as error:  # JAX's rules raise what they like
        raise Mixed(f"'{eqn.primitive.name}' cannot have other rows: {error}") from error
    return list(inferred) if eqn.primitive.multiple_results else [inferred]


def _params_of_block(
    eqn: JaxprEqn,
    avals: Sequence[Any],
    rows: Dim,
    block: int,
    outs: Sequence[Need],
    needs: Sequence[Need],
) -> dict[str, Any]:
    name, params = eqn.primitive.name, dict(eqn.params)
    if name in CALLS:
        ((key, body),) = _compat.sub_jaxprs(eqn)
        return {**params, key: jaxpr_of_block(body, avals, rows, block, outs)}
    if name == "cond":
        branches = [jaxpr_of_block(b, avals[1:], rows, block, outs) for b in params["branches"]]
        return {**params, "branches": tuple(branches)}
    if name == "scan":
        return {**params, **_scan_of_block(eqn, rows, block, outs)}
    if name == "while":
        return {**params, **_while_of_block(eqn, rows, block, outs)}
    if name in _RESULT_SHAPES and isinstance(outs[0], Row):
        key = _RESULT_SHAPES[name]
        shape = aval_of(eqn.outvars[0].aval, outs[0], block).shape
        return {**params, key: _with(params[key], outs[0].axis, shape[outs[0].axis])}
    if name in _OPERAND_SHAPES and isinstance(needs[0], Row):
        key, axis = _OPERAND_SHAPES[name], needs[0].axis
        whole = dims.from_jax(params[key][axis]) == dims_of(eqn.invars[0])[axis]
        return {**params, key: _with(params[key], axis, block)} if whole else params
    if name == "conv_general_dilated" and isinstance(needs[1], Row):
        groups = dims.from_jax(params["feature_group_count"])
        per_row = dims.quotient(groups, rows)
        if groups != 1 and per_row is not None and isinstance(needs[0], Row):
            return {**params, "feature_group_count": _times(block, per_row, eqn.invars[0].aval)}
    return params


def jaxpr_of_block(
    jaxpr: Jaxpr, avals: Sequence[Any], rows: Dim, block: int, outs: Sequence[Need]
) -> Jaxpr:
    """A jaxpr, open or closed, on inputs for ``block`` rows.

    Raises:
      Mixed: as ``equation_of_block``.
    """
    _, needs = jaxpr_needs(jaxpr, rows, outs)
    invars = list(map(_compat.new_variable, avals))
    env: dict[Var, Atom] = dict(zip(jaxpr.invars, invars, strict=True))
    eqns = equations_of_block(jaxpr.eqns, env, rows, block, needs)
    if not {*env, *jaxpr.constvars}.issuperset(variables(jaxpr.outvars)):
        raise Mixed("a call has results that nothing reads")
    outvars = [read(env, atom) for atom in jaxpr.outvars]
    return _compat.with_equations(jaxpr, eqns, outvars, invars)


def equations_of_block(
    eqns: Sequence[JaxprEqn],
    env: dict[Var, Atom],
    rows: Dim,
    block: int,
    needs: Mapping[Var, Need],
) -> list[JaxprEqn]:
    """Equations on ``block`` rows; those that nothing reads are left out.

    ``env`` maps the variables read so far to theirs for the block, and gets the results.
    """
    done = []
    for eqn in eqns:
        outs = [needs.get(var, UNUSED) for var in eqn.outvars]
        if all(need is UNUSED for need in outs) and not eqn.effects:
            continue
        invars = [read(env, atom) for atom in eqn.invars]
        has_rows = any(isinstance(need, Row) for need in outs)
        reads = operand_needs(eqn, rows, outs) if has_rows else [None] * len(invars)
        new = equation_of_block(eqn, invars, rows, block, outs, reads)
        env.update(zip(eqn.outvars, new.outvars, strict=True))
        done.append(new)
    return done


def _scan_of_block(eqn: JaxprEqn, rows: Dim, block: int, outs: Sequence[Need]) -> dict[str, Any]:
    body, (consts, carries) = eqn.params["jaxpr"], _compat.scan_counts(eqn)
    inside = scan_needs(eqn, rows, outs)
    avals = [aval_of(v.aval, n, block) for v, n in zip(body.invars, inside, strict=True)]
    slices = [
        Row(need.axis - 1, need.inner) if isinstance(need, Row) else need for need in outs[carries:]
    ]
    wanted = [*inside[consts : consts + carries], *slices]
    return {"jaxpr": jaxpr_of_block(body, avals, rows, block, wanted)}


def _while_of_block(eqn: JaxprEqn, rows: Dim, block: int, outs: Sequence[Need]) -> dict[str, Any]:
    cond, body = eqn.params["cond_jaxpr"], eqn.params["body_jaxpr"]
    cond_needs, body_needs, carry = while_needs(eqn, rows, outs)
    (test,) = cond.outvars
    by_row = next((n for n in carry if isinstance(n, Row)), None) if test.aval.shape else None
    return {
        "cond_jaxpr": _on_block(cond, [*cond_needs, *carry], rows, block, [by_row]),
        "body_jaxpr": _on_block(body, [*body_needs, *carry], rows, block, carry),
    }


def _on_block(
    jaxpr: Jaxpr, needs: Sequence[Need], rows: Dim, block: int, outs: Sequence[Need]
) -> Jaxpr:
    avals = [aval_of(v.aval, n, block) for v, n in zip(jaxpr.invars, needs, strict=True)]
    return jaxpr_of_block(jaxpr, avals, rows, block, outs)
