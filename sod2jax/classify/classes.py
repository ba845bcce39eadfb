"""Operator classes: what must be known before an operator's output shape is.

The classes are those of SoD² (Niu, Agrawal and Ren, ASPLOS 2024).
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sod2jax import _compat
from sod2jax._compat import Jaxpr, JaxprEqn
from sod2jax.classify.table import OPERATOR_CLASSES, OpClass
from sod2jax.errors import UnsupportedPrimitiveError
from sod2jax.ir import dims
from sod2jax.ir.jaxprs import mentions

__all__ = ["DimKind", "OpClass", "Summary", "classify", "dimension_kind", "summarise"]


class DimKind(enum.Enum):
    """What is known of a dimension before the program runs.

    Attributes:
      KNOWN: an integer.
      SYMBOLIC: one symbol of the specs.
      OP_INFERRED: an expression over such symbols.
      NAC: not a constant; it depends on a symbol whose size is computed by the program.
    """

    KNOWN = "known"
    SYMBOLIC = "symbolic"
    OP_INFERRED = "op-inferred"
    NAC = "nac"


def _scan_class(eqn: JaxprEqn) -> OpClass:
    """A fixed number of steps is the body repeated; a symbolic one is a loop."""
    return OpClass.EDO if _compat.is_symbolic(eqn.params["length"]) else OpClass.STRUCTURAL


def _broadcast_class(eqn: JaxprEqn) -> OpClass:
    """A broadcast literal is a constructor, as ONNX's ConstantOfShape."""
    constant = all(map(_compat.is_literal, eqn.invars))
    return OpClass.ISDO if constant else OpClass.ISDOS


# Primitives whose class depends on more than their name.
_REFINEMENTS: dict[str, Callable[[JaxprEqn], OpClass]] = {
    "scan": _scan_class,
    "broadcast_in_dim": _broadcast_class,
}

# Parameters that hold a dimension as data, so that no output shape depends on them.
_DATA_PARAMS = frozenset({"dim"})


def _mentions(value: Any, names: frozenset[str]) -> bool:
    return bool(names) and not names.isdisjoint(dims.symbols_in(value))


def classify(eqn: JaxprEqn, data_dependent: frozenset[str] = frozenset()) -> OpClass:
    """Operator class of an equation.

    Args:
      eqn: an equation of a jaxpr, with integer or symbolic dimensions.
      data_dependent: names of the dimension variables whose size the program itself computes. An
        operator with such a variable in a shape parameter is ISVDOS.

    Raises:
      UnsupportedPrimitiveError: the primitive is not in the table, and has a symbolic dimension.
    """
    name = eqn.primitive.name
    if name not in OPERATOR_CLASSES:
        return _unknown(eqn)
    refine = _REFINEMENTS.get(name)
    op_class = refine(eqn) if refine else OPERATOR_CLASSES[name]
    if op_class not in (OpClass.ISDO, OpClass.ISDOS):
        return op_class
    shapes = [value for key, value in eqn.params.items() if key not in _DATA_PARAMS]
    return OpClass.ISVDOS if _mentions(shapes, data_dependent) else op_class


def _unknown(eqn: JaxprEqn) -> OpClass:
    """What is not in the table can run as it is, where no symbol touches it."""
    if not mentions(eqn):
        return OpClass.EDO
    remedy = (
        "nothing is known of it; use operations of jax.numpy and jax.lax, keep symbolic dimensions "
        "away from it, or, if it is not JAX's own, say what it does by sod2jax.register_rule"
    )
    raise UnsupportedPrimitiveError(eqn.primitive.name, _compat.source_line(eqn), remedy)


def dimension_kind(dim: Any, data_dependent: frozenset[str] = frozenset()) -> DimKind:
    """What is known of a dimension of an aval; ``data_dependent`` as in ``classify``."""
    if not _compat.is_symbolic(dim):
        return DimKind.KNOWN
    if _mentions(dim, data_dependent):
        return DimKind.NAC
    return DimKind.SYMBOLIC if _compat.dim_text(dim).isidentifier() else DimKind.OP_INFERRED


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Number of operators of each class, and of output dimensions of each kind.

    A sub-jaxpr counts once, beside the operator that wraps it, however often it runs. The scalar
    combiners of ``reduce``, ``scatter`` and their like are part of the operator.
    """

    isdo: int
    isdos: int
    isvdos: int
    edo: int
    structural: int
    known: int
    symbolic: int
    op_inferred: int
    nac: int

    def __str__(self) -> str:
        return (
            f"operators: {self.isdo} ISDO, {self.isdos} ISDOS, {self.isvdos} ISVDOS, "
            f"{self.edo} EDO, {self.structural} structural\n"
            f"dimensions: {self.known} numbers, {self.symbolic} symbols, "
            f"{self.op_inferred} computed from symbols, {self.nac} known only when it runs"
        )


def _equations(jaxpr: Jaxpr, data_dependent: frozenset[str]) -> Iterator[tuple[JaxprEqn, OpClass]]:
    for eqn in jaxpr.eqns:
        op_class = classify(eqn, data_dependent)
        yield eqn, op_class
        known = eqn.primitive.name in OPERATOR_CLASSES
        if op_class not in (OpClass.STRUCTURAL, OpClass.EDO) or not known:
            continue
        for _, body in _compat.sub_jaxprs(eqn):
            yield from _equations(body, data_dependent)


def summarise(closed_jaxpr: Jaxpr, data_dependent: frozenset[str] = frozenset()) -> Summary:
    """Counts operators and output dimensions of a program and of all its sub-jaxprs.

    Args:
      closed_jaxpr: the program.
      data_dependent: as in ``classify``; their dimensions count as nac.

    Raises:
      UnsupportedPrimitiveError: as ``classify``.
    """
    classes: Counter[OpClass] = Counter()
    kinds: Counter[DimKind] = Counter()
    for eqn, op_class in _equations(closed_jaxpr, data_dependent):
        classes[op_class] += 1
        for var in eqn.outvars:
            shape = getattr(var.aval, "shape", ())  # tokens have none
            kinds.update(dimension_kind(dim, data_dependent) for dim in shape)
    return Summary(
        isdo=classes[OpClass.ISDO],
        isdos=classes[OpClass.ISDOS],
        isvdos=classes[OpClass.ISVDOS],
        edo=classes[OpClass.EDO],
        structural=classes[OpClass.STRUCTURAL],
        known=kinds[DimKind.KNOWN],
        symbolic=kinds[DimKind.SYMBOLIC],
        op_inferred=kinds[DimKind.OP_INFERRED],
        nac=kinds[DimKind.NAC],
    )
