"""Jaxprs: their parts, how they are walked, and how new ones are made.

Since jax 0.11 ``Jaxpr`` and ``ClosedJaxpr`` are one class; both have ``constvars``, ``invars``,
``eqns`` and ``outvars``, and only closed ones have ``consts``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import jax
import numpy as np
from jax._src import config, core
from jax._src.interpreters import partial_eval
from jax.extend.core import Literal, jaxpr_as_fun

# The parts of programs, in annotations. They are no more than names for readers: JAX types an aval
# as an ``AbstractValue`` without shape or dtype, and open and closed jaxprs are two classes before
# jax 0.11.
Jaxpr: TypeAlias = Any
JaxprEqn: TypeAlias = Any
Var: TypeAlias = Any
Atom: TypeAlias = Any


def is_jaxpr(value: object) -> bool:
    """Whether a parameter of an equation is an open or closed jaxpr."""
    return hasattr(value, "eqns") and hasattr(value, "invars")


def sub_jaxprs(eqn: JaxprEqn) -> Iterator[tuple[str, Jaxpr]]:
    """Yields (parameter name, jaxpr) for every jaxpr among an equation's parameters."""
    for name, value in eqn.params.items():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if is_jaxpr(item):
                yield name, item


def expanded(eqn: JaxprEqn) -> Jaxpr:
    """The jaxpr that a ``call_hi_primitive`` equation (jax 0.12) stands for, on its own avals."""
    primitive = eqn.params["_prim"]
    avals = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in eqn.invars]
    return jax.make_jaxpr(lambda *xs: primitive.expand(*jax.tree.unflatten(primitive.in_tree, xs)))(
        *avals
    )


def constants(jaxpr: Jaxpr) -> Sequence[Any]:
    """Values of ``jaxpr.constvars``; empty for an open jaxpr."""
    return getattr(jaxpr, "consts", ())


def all_constants(jaxpr: Jaxpr) -> list[Any]:
    """Values of the constvars of a jaxpr and of its sub-jaxprs, each object once.

    Without those that could not be passed as arguments: 64-bit ones where 64 bits are disabled.
    """
    every = config.enable_x64.value
    values = [value for value in constants(jaxpr) if every or not is_wide_dtype(value.dtype)]
    bodies = [body for eqn in jaxpr.eqns for _, body in sub_jaxprs(eqn)]
    values += [value for body in bodies for value in all_constants(body)]
    return list({id(value): value for value in values}.values())


def is_of_high_type(value: Any) -> bool:
    """Whether a value is of a type that is no array's, and that JAX lowers to arrays (hijax)."""
    kind = core.pytype_aval_mappings.get(type(value))
    if kind is None or isinstance(value, np.ndarray | np.generic):
        return False  # NumPy may have dtypes that are no types of JAX
    if isinstance(value, jax.ShapeDtypeStruct) and not getattr(value, "is_ref", False):
        return False  # its dtype may be one that jax 0.12 warns of
    return _is_high(kind(value))


def high_type_in(jaxpr: Jaxpr) -> tuple[str, JaxprEqn | None] | None:
    """The name of the first type in a program that is no array's, and the equation that has it.

    Without an equation where the program takes such a value, or closes over it.
    """
    for atom in (*jaxpr.invars, *jaxpr.constvars):
        if _is_high(atom.aval):
            return type(atom.aval).__name__, None
    for eqn in jaxpr.eqns:
        for atom in (*eqn.invars, *eqn.outvars):
            if _is_high(atom.aval):
                return type(atom.aval).__name__, eqn
        for _, body in sub_jaxprs(eqn):
            if (found := high_type_in(body)) is not None:
                return found[0], found[1] or eqn
    return None


def _is_high(aval: Any) -> bool:
    return bool(getattr(aval, "is_high", False)) and not isinstance(aval, core.ShapedArray)


def is_wide_dtype(dtype: Any) -> bool:
    """Whether a dtype has 64 bits, or 64 bits for each part."""
    wide = ("int64", "uint64", "float64", "complex128")
    return isinstance(dtype, np.dtype) and dtype.name in wide


def function_of(jaxpr: Jaxpr) -> Callable[..., list[Any]]:
    """A function that runs a closed jaxpr."""
    return jaxpr_as_fun(jaxpr)


def is_literal(atom: object) -> bool:
    """Whether an operand of an equation is a literal rather than a variable."""
    return isinstance(atom, Literal)


def literal_array(atom: Any) -> np.ndarray:
    """A literal's value in exactly its aval's dtype (JAX's typed scalars lack ``astype``)."""
    return np.asarray(atom.val, dtype=atom.aval.dtype)


def scan_counts(eqn: JaxprEqn) -> tuple[int, int]:
    """(number of constants, number of carries) of a ``scan`` equation."""
    if "num_consts" in eqn.params:
        return eqn.params["num_consts"], eqn.params["num_carry"]
    consts, carry, _ = eqn.params["ft_in"].unpack()
    return len(list(consts)), len(list(carry))


def with_constants(jaxpr: Jaxpr, constvars: Sequence[Any], consts: Sequence[Any]) -> Jaxpr:
    """A closed jaxpr with other constants."""
    if hasattr(jaxpr, "jaxpr") and jaxpr.jaxpr is not jaxpr:  # closed, before jax 0.11
        inner = jaxpr.jaxpr.replace(constvars=list(constvars))
        return jaxpr.replace(jaxpr=inner, consts=list(consts))
    return jaxpr.replace(constvars=list(constvars), consts=list(consts))


def with_equations(
    jaxpr: Jaxpr, eqns: Sequence[JaxprEqn], outvars: Any = None, invars: Any = None
) -> Jaxpr:
    """The jaxpr, open or closed, with other equations, and other outputs and inputs if given."""
    given = {"outvars": outvars, "invars": invars}
    new = {"eqns": list(eqns), **{k: list(v) for k, v in given.items() if v is not None}}
    if hasattr(jaxpr, "jaxpr") and jaxpr.jaxpr is not jaxpr:  # closed, before jax 0.11
        return jaxpr.replace(jaxpr=jaxpr.jaxpr.replace(**new))
    return jaxpr.replace(**new)


def closed_jaxpr(
    invars: Sequence[Any], outvars: Sequence[Any], eqns: Sequence[JaxprEqn], like: Jaxpr
) -> Jaxpr:
    """A closed jaxpr without constants; ``like`` is any closed jaxpr, for its debugging names."""
    new = {"invars": list(invars), "outvars": list(outvars), "eqns": list(eqns)}
    if hasattr(like, "jaxpr") and like.jaxpr is not like:  # before jax 0.11
        return like.replace(jaxpr=like.jaxpr.replace(constvars=[], **new), consts=[])
    return like.replace(constvars=[], consts=[], **new)


def new_variable(aval: Any) -> Any:
    """A fresh variable of a jaxpr."""
    return core.Var(aval)


def new_literal(value: Any, aval: Any) -> Any:
    """A literal: a scalar as an operand of an equation, in the dtype of ``aval``."""
    return Literal(np.asarray(value, aval.dtype)[()], aval)


def new_equation(
    primitive: Any,
    invars: Sequence[Any],
    outvars: Sequence[Any],
    params: dict[str, Any],
    like: JaxprEqn,
    effects: Any = frozenset(),
) -> JaxprEqn:
    """An equation with the source line and the configuration of another one."""
    return core.new_jaxpr_eqn(
        list(invars), list(outvars), primitive, params, effects, like.source_info, like.ctx
    )


def over_mesh(body: Any, eqn: JaxprEqn) -> Any:
    """Another body for the devices that a ``shard_map`` equation runs its own on."""
    params = eqn.params

    def unfolded(*arrays: Any) -> Any:
        with config.eager_constant_folding(False):  # what varies by device is no constant
            return body(*arrays)

    return jax.shard_map(
        unfolded,
        mesh=params["mesh"],
        in_specs=tuple(params["in_specs"]),
        out_specs=list(params["out_specs"]),
        axis_names=set(params["newly_manual_axes"]),
        check_vma=params["check_vma"],
    )


def without_unread(jaxpr: Jaxpr) -> Jaxpr:
    """A closed jaxpr as ``jit`` lowers it, where dead code decides what runs.

    A ``custom_vjp`` with ``optimize_remat`` runs its primal function where no residual is read.
    """
    if "remat_opt" not in _primitives(jaxpr):
        return jaxpr
    inner = getattr(jaxpr, "jaxpr", jaxpr)
    new, used, _ = partial_eval.dce_jaxpr_consts(inner, [True] * len(inner.outvars), True)
    consts = [c for c, is_used in zip(constants(jaxpr), used, strict=True) if is_used]
    if inner is jaxpr:  # since jax 0.11
        return new.replace(consts=consts)
    return jaxpr.replace(jaxpr=new, consts=consts)


def _primitives(jaxpr: Jaxpr) -> set[str]:
    inside = [_primitives(body) for eqn in jaxpr.eqns for _, body in sub_jaxprs(eqn)]
    return {eqn.primitive.name for eqn in jaxpr.eqns}.union(*inside)


def call_equation(jaxpr: Jaxpr, invars: Sequence[Any], outvars: Sequence[Any], like: JaxprEqn):
    """An equation that runs a closed jaxpr, constants and effects included."""
    params = {"call_jaxpr": jaxpr}
    return new_equation(core.closed_call_p, invars, outvars, params, like, jaxpr.effects)


def bind(eqn: JaxprEqn, *args: Any, **changed: Any) -> list[Any]:
    """Binds an equation's primitive on new operands; ``changed`` overrides its parameters."""
    if eqn.primitive.name == "shard_map":  # its body is for a context that only its function makes
        body = eqn.params["jaxpr"]
        return list(over_mesh(lambda *xs: core.eval_jaxpr(body, constants(body), *xs), eqn)(*args))
    params = eqn.primitive.get_bind_params({**eqn.params, **changed})
    out = eqn.primitive.bind(*args, **params)
    return list(out) if eqn.primitive.multiple_results else [out]
