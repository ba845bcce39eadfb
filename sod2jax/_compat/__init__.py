"""Every difference between JAX versions, and the only importer of JAX's private modules.

Supported: jax 0.10 to 0.12. Since 0.11 ``Jaxpr`` and ``ClosedJaxpr`` are one class; both have
``constvars``, ``invars``, ``eqns`` and ``outvars``, and only closed ones have ``consts``.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax._src import config, core, dtypes, source_info_util
from jax._src.export import shape_poly
from jax._src.interpreters import pxla
from jax._src.lax import lax as lax_internal
from jax._src.lax import utils as lax_utils
from jax._src.lax.control_flow import loops
from jax._src.numpy import hijax, indexing, lax_numpy, linalg, ufuncs
from jax._src.random import core as random_core
from jax.extend.core import InconclusiveDimensionOperation, Literal, Primitive

from sod2jax._compat.primitives import array_aval, is_unknown, new_primitive

__all__ = [
    "AT_LEAST",
    "JAX_DIRECTORY",
    "PACKAGE_DIRECTORY",
    "TELL_SIZES_APART",
    "WANT_NUMBERS",
    "Atom",
    "Dimension",
    "InconclusiveDimensionOperation",
    "Jaxpr",
    "JaxprEqn",
    "Primitive",
    "Var",
    "all_constants",
    "array_aval",
    "bind",
    "call_equation",
    "closed_jaxpr",
    "constants",
    "converted",
    "dim_text",
    "dimensions",
    "expanded",
    "host_to_device",
    "is_jaxpr",
    "is_key_array",
    "is_literal",
    "is_symbolic",
    "is_unknown",
    "key_array",
    "key_bits",
    "listen_for_compiles",
    "literal_array",
    "new_equation",
    "new_literal",
    "new_primitive",
    "new_variable",
    "register_host_array",
    "scan_counts",
    "searchsorted",
    "sorts_before",
    "sorts_before_or_equal",
    "source_line",
    "sub_jaxprs",
    "trace_context",
    "trace_of",
    "with_constants",
    "with_equations",
    "with_weak_type",
]

# Modules that ask ``operator.index`` whether a value is a number, or loop by its bits.
TELL_SIZES_APART = (core.__name__, ufuncs.__name__, linalg.__name__)
_VIA_EXPAND = hasattr(hijax, "searchsorted_via_expand")  # before jax 0.12
# JAX's functions that want sizes as numbers: (module, name).
WANT_NUMBERS = {
    "associative_scan": (loops, "associative_scan"),
    "bisect": (hijax, "_searchsorted_scan_impl"),
    "concrete_or_error": (core, "concrete_or_error"),
    "constant": (lax_internal, "_const"),
    "dtype_for_dim": (lax_utils, "int_dtype_for_dim"),
    "dtype_for_shape": (lax_utils, "int_dtype_for_shape"),
    "index": (indexing, "eliminate_deprecated_list_indexing"),
    "pad_mirrored": (lax_numpy, "_pad_symmetric_or_reflect"),
    "pad_wrap": (lax_numpy, "_pad_wrap"),
    "reduce_jvp": (lax_internal, "_reduce_jvp"),
    "scan_length": (loops, "_infer_scan_length"),
    "searchsorted": (hijax, "searchsorted_via_expand" if _VIA_EXPAND else "searchsorted"),
    "shuffle": (random_core, "_shuffle"),
    "squeeze": (lax_numpy, "_squeeze"),
}
# The class of symbolic dimensions, and the function (module, name) that decides on ``>=`` of them.
Dimension: Any = shape_poly._DimExpr
AT_LEAST = (shape_poly, "_geq_decision")
searchsorted = hijax._searchsorted_impl
sorts_before = lax_internal._sort_lt_comparator
sorts_before_or_equal = lax_internal._sort_le_comparator

# Where the files of JAX and of this package lie.
JAX_DIRECTORY = os.path.dirname(jax.__file__) + os.sep
PACKAGE_DIRECTORY = os.path.dirname(os.path.dirname(__file__)) + os.sep

# A line of the user's is never one of this package, whose hooks stand between the two.
source_info_util.register_exclusion(PACKAGE_DIRECTORY)

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


def with_constants(jaxpr: Jaxpr, constvars: Sequence[Any], consts: Sequence[Any]) -> Jaxpr:
    """A closed jaxpr with other constants."""
    if hasattr(jaxpr, "jaxpr") and jaxpr.jaxpr is not jaxpr:  # closed, before jax 0.11
        inner = jaxpr.jaxpr.replace(constvars=list(constvars))
        return jaxpr.replace(jaxpr=inner, consts=list(consts))
    return jaxpr.replace(constvars=list(constvars), consts=list(consts))


def new_variable(aval: Any) -> Any:
    """A fresh variable of a jaxpr."""
    return core.Var(aval)


def new_literal(value: Any, aval: Any) -> Any:
    """A literal: a scalar as an operand of an equation, in the dtype of ``aval``."""
    return Literal(np.asarray(value, aval.dtype)[()], aval)


def call_equation(jaxpr: Jaxpr, invars: Sequence[Any], outvars: Sequence[Any], like: JaxprEqn):
    """An equation that runs a closed jaxpr, constants and effects included."""
    params = {"call_jaxpr": jaxpr}
    return new_equation(core.closed_call_p, invars, outvars, params, like, jaxpr.effects)


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


def constants(jaxpr: Jaxpr) -> Sequence[Any]:
    """Values of ``jaxpr.constvars``; empty for an open jaxpr."""
    return getattr(jaxpr, "consts", ())


def all_constants(jaxpr: Jaxpr) -> list[Any]:
    """Values of the constvars of a jaxpr and of its sub-jaxprs, each object once.

    Without those that could not be passed as arguments: 64-bit ones where 64 bits are disabled.
    """
    every = config.enable_x64.value
    found = {id(v): v for v in constants(jaxpr) if every or not _is_wide_dtype(v.dtype)}
    for eqn in jaxpr.eqns:
        for _, body in sub_jaxprs(eqn):
            found.update((id(value), value) for value in all_constants(body))
    return list(found.values())


def is_symbolic(dim: Any) -> bool:
    """Whether a dimension of an aval is a symbolic expression."""
    return jax.export.is_symbolic_dim(dim)


def register_host_array(cls: type) -> None:
    """Lets JAX take instances of a class as what their ``__jax_array__()`` gives."""
    core.pytype_aval_mappings[cls] = lambda x: x.__jax_array__().aval
    dtypes.register_canonicalize_value_handler(cls, lambda x: x.__jax_array__())


def dim_text(dim: object) -> str:
    """A dimension in the documented grammar of ``jax.export.symbolic_shape``."""
    return str(dim)


def dimensions(texts: Iterable[str], scope: Any) -> list[Any]:
    """JAX dimensions from their text, in a scope, or in that of another dimension."""
    joined = ", ".join(texts)
    scope = getattr(scope, "scope", scope)
    return list(jax.export.symbolic_shape(f"({joined},)", scope=scope)) if joined else []


def is_literal(atom: object) -> bool:
    """Whether an operand of an equation is a literal rather than a variable."""
    return isinstance(atom, Literal)


def literal_array(atom: Any) -> np.ndarray:
    """A literal's value in exactly its aval's dtype (JAX's typed scalars lack ``astype``)."""
    return np.asarray(atom.val, dtype=atom.aval.dtype)


def source_line(*eqns: JaxprEqn) -> str:
    """The user's line, ``file:line (function)``, of the first of the equations that knows it.

    One in a function of JAX's own, such as ``jnp.var``, knows none; the ``jit`` around it does.
    """
    for eqn in eqns:
        frame = source_info_util.user_frame(eqn.source_info.traceback)
        if frame is not None:
            return f"{frame.file_name}:{frame.start_line} ({frame.function_name})"
    return "unknown source"


@contextlib.contextmanager
def equation_scope(eqn: JaxprEqn) -> Iterator[None]:
    """Re-enters the configuration and the source line that an equation was traced under."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(source_info_util.user_context(eqn.source_info.traceback))
        stack.enter_context(eqn.ctx.manager)
        used = [atom.aval.dtype for atom in (*eqn.invars, *eqn.outvars)]
        if not config.enable_x64.value and any(map(_is_wide_dtype, used)):
            stack.enter_context(jax.enable_x64(True))
        yield


def _is_wide_dtype(dtype: Any) -> bool:
    wide = ("int64", "uint64", "float64", "complex128")
    return isinstance(dtype, np.dtype) and dtype.name in wide


def bind(eqn: JaxprEqn, *args: Any, **changed: Any) -> list[Any]:
    """Binds an equation's primitive on new operands; ``changed`` overrides its parameters."""
    params = eqn.primitive.get_bind_params({**eqn.params, **changed})
    out = eqn.primitive.bind(*args, **params)
    return list(out) if eqn.primitive.multiple_results else [out]


def converted(array: Any, dtype: Any, weak_type: bool) -> Any:
    """The array in a dtype, weak or not."""
    return lax_internal._convert_element_type(array, dtype, weak_type=weak_type)


def with_weak_type(array: Any, aval: Any) -> Any:
    """The array with the weak type of ``aval``."""
    if getattr(array, "weak_type", False) == aval.weak_type or jnp.issubdtype(
        aval.dtype, jax.dtypes.extended
    ):
        return array
    return lax_internal._convert_element_type(array, aval.dtype, weak_type=aval.weak_type)


def scan_counts(eqn: JaxprEqn) -> tuple[int, int]:
    """(number of constants, number of carries) of a ``scan`` equation."""
    if "num_consts" in eqn.params:
        return eqn.params["num_consts"], eqn.params["num_carry"]
    consts, carry, _ = eqn.params["ft_in"].unpack()
    return len(list(consts)), len(list(carry))


def is_key_array(array: Any) -> bool:
    """Whether an array holds typed PRNG keys."""
    return jnp.issubdtype(array.dtype, jax.dtypes.prng_key)


def key_bits(keys: Any) -> jax.Array:
    """uint32[..., k]: the bits of typed keys; unlike ``jax.random.key_data``, compiles nothing."""
    return keys._base_array


def key_array(bits: jax.Array, like: Any) -> Any:
    """Typed keys with these bits and the implementation of ``like``; compiles nothing."""
    return type(like)(like._impl, bits)


def trace_of(tracer: Any) -> Any:
    """The trace that a tracer belongs to; None for other values."""
    return getattr(tracer, "_trace", None)


def trace_context() -> Any:
    """The settings that tracing reads, such as 64-bit mode; hashable."""
    return config.trace_context()


def host_to_device(array: np.ndarray, like: jax.Array) -> jax.Array:
    """A NumPy array as a ``jax.Array`` with the dtype and device of ``like``; compiles nothing.

    A contiguous aligned array on the CPU backend is shared, not copied.
    """
    sharding = like.sharding
    aval = like.aval.update(shape=array.shape)
    return pxla.batched_device_put(aval, sharding, [array], list(sharding.device_set))


def listen_for_compiles(callback: Callable[[str, float], None]) -> None:
    """Calls ``callback(stage, seconds)`` for each trace, lowering and compile that JAX does.

    ``stage`` is "trace", "lower" or "compile".
    """
    stages = {
        "/jax/core/compile/jaxpr_trace_duration": "trace",
        "/jax/core/compile/jaxpr_to_mlir_module_duration": "lower",
        "/jax/core/compile/backend_compile_duration": "compile",
    }

    def listener(event: str, duration_secs: float, **_: str | int) -> None:
        if event in stages:
            callback(stages[event], duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listener)
