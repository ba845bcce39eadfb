"""Operator classes of primitives, and of a program's equations."""

from sod2jax.classify.classes import DimKind, OpClass, Summary, classify, dimension_kind, summarise

__all__ = ["DimKind", "OpClass", "Summary", "classify", "dimension_kind", "summarise"]
