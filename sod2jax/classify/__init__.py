"""Operator classes, and the vocabulary of primitives that all tables are made of."""

from sod2jax.classify.classes import DimKind, OpClass, Summary, classify, dimension_kind, summarize

__all__ = ["DimKind", "OpClass", "Summary", "classify", "dimension_kind", "summarize"]
