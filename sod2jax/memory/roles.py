"""How XLA is expected to run each primitive: one literal table.

A primitive that the table does not name is taken to read and write whole arrays in memory.
"""

from __future__ import annotations

import enum

__all__ = ["CALLS", "EXPENSIVE", "IN_PLACE", "REPEATS", "ROLES", "Role"]


class Role(enum.Enum):
    """What a step does to memory.

    Attributes:
      ALIAS: the result is the operand's bytes under another shape or name.
      POINTWISE: fusible; element ``i`` of the result comes from elements ``i`` of the operands.
      REINDEX: fusible; elements are moved, repeated, selected or generated.
      REDUCE: operands fuse into it; the result is materialised.
      OPAQUE: operands and results are whole arrays in memory.
    """

    ALIAS = enum.auto()
    POINTWISE = enum.auto()
    REINDEX = enum.auto()
    REDUCE = enum.auto()
    OPAQUE = enum.auto()


# Inlined: XLA flattens calls before it assigns memory.
CALLS = frozenset(
    {
        "call", "closed_call", "composite", "custom_jvp_call", "custom_vjp_call",
        "custom_vmap_call", "jit", "remat2", "xla_metadata_call",
    }
)  # fmt: skip

_ALIAS = (
    "device_put", "layout_constraint", "name", "optimization_barrier", "pvary", "random_unwrap",
    "random_wrap", "reshape", "reshard", "sharding_constraint", "squeeze", "stop_gradient",
)  # fmt: skip

_CHEAP = (
    "abs", "add", "add_any", "and", "bitcast_convert_type", "ceil", "clamp", "clz", "complex",
    "conj", "convert_element_type", "copy", "eq", "eq_to", "floor", "ge", "gt", "imag",
    "integer_pow", "is_finite", "le", "le_to", "lt", "lt_to", "max", "min", "mul", "mulhi", "ne",
    "neg", "nextafter", "not", "or", "population_count", "real", "reduce_precision", "round",
    "select_n", "shift_left", "shift_right_arithmetic", "shift_right_logical", "sign", "square",
    "sub", "xor",
)  # fmt: skip

_COSTLY = (
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "bessel_i0e", "bessel_i1e",
    "cbrt", "cos", "cosh", "digamma", "div", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1",
    "igamma", "igamma_grad_a", "igammac", "lgamma", "log", "log1p", "log2", "logistic", "polygamma",
    "pow", "regularized_incomplete_beta", "rem", "rsqrt", "sin", "sinh", "sqrt", "tan", "tanh",
    "zeta",
)  # fmt: skip

_REINDEX = (
    "broadcast_in_dim", "concatenate", "dynamic_slice", "dynamic_update_slice", "gather", "iota",
    "iota_2x32_shape", "pad", "rev", "slice", "split", "stack", "tile", "transpose", "unstack",
)  # fmt: skip

_REDUCE = (
    "argmax", "argmin", "reduce", "reduce_and", "reduce_max", "reduce_min", "reduce_or",
    "reduce_prod", "reduce_sum", "reduce_window", "reduce_window_max", "reduce_window_min",
    "reduce_window_sum", "reduce_xor",
)  # fmt: skip

ROLES: dict[str, Role] = {
    **dict.fromkeys(_ALIAS, Role.ALIAS),
    **dict.fromkeys(_CHEAP + _COSTLY, Role.POINTWISE),
    **dict.fromkeys(_REINDEX, Role.REINDEX),
    **dict.fromkeys(_REDUCE, Role.REDUCE),
}

# Not computed twice: XLA gives these a buffer rather than run them in more than one kernel.
EXPENSIVE = frozenset((*_COSTLY, "gather"))

# Read one element of an operand for several of the result.
REPEATS = frozenset({"broadcast_in_dim", "gather", "tile"})

# Position of the operand that the first result may be written over. Sorts and loops have several.
IN_PLACE: dict[str, int] = {
    "cholesky": 0,
    "dynamic_update_slice": 0,
    "lu": 0,
    "scatter": 0,
    "scatter-add": 0,
    "scatter-sub": 0,
    "scatter-max": 0,
    "scatter-min": 0,
    "scatter-mul": 0,
    "triangular_solve": 1,
}
