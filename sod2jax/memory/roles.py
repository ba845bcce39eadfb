"""How XLA is expected to run each primitive.

A primitive that the table does not name is taken to read and write whole arrays in memory.
"""

from __future__ import annotations

import enum

from sod2jax.ir import vocabulary

__all__ = ["EXPENSIVE", "IN_PLACE", "REPEATS", "ROLES", "Role"]


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


_ALIAS = frozenset().union(
    vocabulary.IDENTITIES - {"copy"},  # its bytes are its own
    vocabulary.KEY_CASTS,
    "pvary reshape reshard squeeze".split(),
)
_COSTLY = vocabulary.TRANSCENDENTAL | vocabulary.SPECIAL | {"div", "rem"}
_POINTWISE = vocabulary.ELEMENTWISE | vocabulary.CASTS | {"bitcast_convert_type", "copy"}
_REINDEX = frozenset().union(
    vocabulary.LAYOUT - _ALIAS,
    vocabulary.GENERATORS,
    vocabulary.ASSEMBLY,
    vocabulary.DYNAMIC_SLICES,
    vocabulary.GATHERS,
)
_REDUCE = frozenset().union(
    vocabulary.REDUCTIONS,
    vocabulary.ARG_REDUCTIONS,
    vocabulary.GENERAL_REDUCTIONS,
    vocabulary.WINDOW_REDUCTIONS,
)

ROLES: dict[str, Role] = {
    **dict.fromkeys(_ALIAS, Role.ALIAS),
    **dict.fromkeys(_POINTWISE, Role.POINTWISE),
    **dict.fromkeys(_REINDEX, Role.REINDEX),
    **dict.fromkeys(_REDUCE, Role.REDUCE),
}

# Not computed twice: XLA gives these a buffer rather than run them in more than one kernel.
EXPENSIVE = _COSTLY | vocabulary.GATHERS

# Read one element of an operand for several of the result.
REPEATS = frozenset({"broadcast_in_dim", "gather", "tile"})

# Position of the operand that the first result may be written over. Sorts and loops have several.
IN_PLACE: dict[str, int] = {
    "cholesky": 0,
    "dynamic_update_slice": 0,
    "lu": 0,
    **dict.fromkeys(vocabulary.SCATTERS, 0),
    "triangular_solve": 1,
}
