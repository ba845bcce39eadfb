"""The operator class of each group of the vocabulary, before an equation's parameters refine it."""

from __future__ import annotations

import enum

from sod2jax.ir import vocabulary


class OpClass(enum.Enum):
    """Class of an operator by what determines the shape and the value of its output.

    Attributes:
      ISDO: input shape determined output. Shape and value follow from the input shapes and
        constants alone (``iota``).
      ISDOS: input shape determined output shape. The shape follows from the input shapes, the
        value needs the input values (``add``, ``dot_general``).
      ISVDOS: input shape and value determined output shape. The shape also needs the values of
        some inputs. In a jaxpr these values stand in the parameters, as symbolic dimensions.
      EDO: execution determined output. What is computed is known only while it runs: control flow
        whose path is open until then, and calls that JAX cannot look into.
      STRUCTURAL: wraps a sub-jaxpr, whose operators decide (``jit``, ``scan`` of a fixed length).
    """

    ISDO = "ISDO"
    ISDOS = "ISDOS"
    ISVDOS = "ISVDOS"
    EDO = "EDO"
    STRUCTURAL = "structural"


# Subject -> (class, basic group of the vocabulary).
GROUPS: dict[str, tuple[OpClass, frozenset[str]]] = {
    "shapes as data": (OpClass.ISDO, vocabulary.SIZES),
    "values as shapes": (OpClass.EDO, vocabulary.DATA_DEPENDENT_SIZES),
    "generators": (OpClass.ISDO, vocabulary.GENERATORS),
    "other constructors": (OpClass.ISDO, vocabulary.CONSTRUCTORS),
    "place in the machine": (OpClass.ISDO, vocabulary.MACHINE),
    "arithmetic": (OpClass.ISDOS, vocabulary.ARITHMETIC),
    "bitwise": (OpClass.ISDOS, vocabulary.BITWISE),
    "comparisons": (OpClass.ISDOS, vocabulary.COMPARISONS),
    "elementary functions": (OpClass.ISDOS, vocabulary.TRANSCENDENTAL),
    "special functions": (OpClass.ISDOS, vocabulary.SPECIAL),
    "elementwise of other packages": (OpClass.ISDOS, vocabulary.FOREIGN),
    "conversions": (OpClass.ISDOS, vocabulary.CASTS),
    "reinterpretations": (OpClass.ISDOS, vocabulary.REINTERPRETATIONS),
    "copies": (OpClass.ISDOS, vocabulary.COPIES),
    "annotations": (OpClass.ISDOS, vocabulary.ANNOTATIONS),
    "marks": (OpClass.ISDOS, vocabulary.MARKS),
    "layout": (OpClass.ISDOS, vocabulary.LAYOUT),
    "assembly": (OpClass.ISDOS, vocabulary.ASSEMBLY),
    "dynamic slices": (OpClass.ISDOS, vocabulary.DYNAMIC_SLICES),
    "gathers": (OpClass.ISDOS, vocabulary.GATHERS),
    "scatters": (OpClass.ISDOS, vocabulary.SCATTERS),
    "reductions": (OpClass.ISDOS, vocabulary.REDUCTIONS),
    "positions of extremes": (OpClass.ISDOS, vocabulary.ARG_REDUCTIONS),
    "reductions by a jaxpr": (OpClass.ISDOS, vocabulary.GENERAL_REDUCTIONS),
    "cumulative": (OpClass.ISDOS, vocabulary.CUMULATIVE),
    "windows": (OpClass.ISDOS, vocabulary.WINDOW_REDUCTIONS),
    "selections by windows": (OpClass.ISDOS, vocabulary.WINDOW_SELECTIONS),
    "order": (OpClass.ISDOS, vocabulary.SORTS),
    "contractions": (OpClass.ISDOS, vocabulary.CONTRACTIONS),
    "convolutions": (OpClass.ISDOS, vocabulary.CONVOLUTIONS),
    "scaled contractions": (OpClass.ISDOS, vocabulary.SCALED_CONTRACTIONS),
    "attention and recurrence kernels": (OpClass.ISDOS, vocabulary.KERNELS),
    "factorisations": (OpClass.ISDOS, vocabulary.FACTORISATIONS),
    "solves": (OpClass.ISDOS, vocabulary.SOLVES),
    "transforms": (OpClass.ISDOS, vocabulary.TRANSFORMS),
    "random keys": (OpClass.ISDOS, vocabulary.KEYS),
    "keys and their bits": (OpClass.ISDOS, vocabulary.KEY_CASTS),
    "ciphers": (OpClass.ISDOS, vocabulary.CIPHERS),
    "random bits": (OpClass.ISDOS, vocabulary.RANDOM_BITS),
    "distributions": (OpClass.ISDOS, vocabulary.DISTRIBUTIONS),
    "checks of keys": (OpClass.ISDOS, vocabulary.KEY_CHECKS),
    "sparse": (OpClass.ISDOS, vocabulary.SPARSE),
    "placement": (OpClass.ISDOS, vocabulary.PLACEMENTS),
    "collectives, by lanes": (OpClass.ISDOS, vocabulary.LANEWISE_COLLECTIVES),
    "collectives, along axes": (OpClass.ISDOS, vocabulary.MOVING_COLLECTIVES),
    "other collectives": (OpClass.ISDOS, vocabulary.COLLECTIVES),
    "mutable references": (OpClass.ISDOS, vocabulary.REFERENCES),
    "thunks": (OpClass.ISDOS, vocabulary.THUNKS),
    "conditionals": (OpClass.EDO, vocabulary.CONDITIONALS),
    "loops": (OpClass.EDO, vocabulary.LOOPS),
    "control flow of thunks": (OpClass.EDO, vocabulary.THUNK_CONTROL_FLOW),
    "made by the passes of this package": (OpClass.EDO, vocabulary.ROWS),
    "callbacks": (OpClass.EDO, vocabulary.CALLBACKS),
    "opaque calls": (OpClass.EDO, vocabulary.OPAQUE_CALLS),
    "calls": (OpClass.STRUCTURAL, vocabulary.CALLS),
    "linear solves": (OpClass.STRUCTURAL, vocabulary.LINEAR_SOLVES),
    "other wrappers of sub-jaxprs": (OpClass.STRUCTURAL, vocabulary.WRAPPERS),
}

# Primitive -> class.
OPERATOR_CLASSES: dict[str, OpClass] = {
    name: op_class for op_class, names in GROUPS.values() for name in names
}
