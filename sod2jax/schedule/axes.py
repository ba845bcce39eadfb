"""The axes of convolutions in the order that compilers like: features last."""

from __future__ import annotations

from collections.abc import Sequence


def features_last(spec: Sequence[int]) -> tuple[int, ...]:
    """The axes of an operand or result as (batch, space..., features); as JAX numbers them."""
    return (spec[0], *spec[2:], spec[1])


def features_out_last(spec: Sequence[int]) -> tuple[int, ...]:
    """The axes of weights as (space..., features in, features out); as JAX numbers them."""
    return (*spec[2:], spec[1], spec[0])
