"""Options: how arguments of the decorator are read, and how they print."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sod2jax.errors import SpecError
from sod2jax.ir.comparisons import Comparison
from sod2jax.options import JitKeywords, Options


def checked(**given: Any) -> Options:
    """Options with the decorator's defaults for what is not given."""
    plain = {
        "shapes": None,
        "constraints": (),
        "buckets": None,
        "max_executables": 8,
        "on_unsupported": "exact",
    }
    return Options.checked(**(plain | given))


def test_nothing_given() -> None:
    assert checked() == Options()


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        (
            {"shapes": ("s",), "constraints": ["s <= 8"]},
            "constraints",
            (Comparison.parse("s <= 8"),),
        ),
        ({"shapes": ("s",), "buckets": {"s": 8}}, "buckets", {"s": (8,)}),
        ({"shapes": ("s",), "buckets": {"s": [16, np.int64(8), 16]}}, "buckets", {"s": (8, 16)}),
        ({"static_argnums": 1}, "jit", JitKeywords(static_argnums=(1,))),
        ({"static_argnums": [2, 1]}, "jit", JitKeywords(static_argnums=(2, 1))),
        ({"static_argnames": "mode"}, "jit", JitKeywords(static_argnames=("mode",))),
        ({"static_argnames": None}, "jit", JitKeywords(static_argnames=())),
        ({"shapes": {"x": "b, s"}}, "shapes", {"x": "b, s"}),
    ],
)
def test_arguments_are_brought_to_one_form(given: dict, name: str, value: Any) -> None:
    assert getattr(checked(**given), name) == value


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"shapes": "b, s"}, "shapes must be a sequence"),
        ({"constraints": ("s <= 8",)}, r"constraints without shapes: .* shapes=\('n, 16',\)"),
        ({"buckets": {"s": (8,)}}, r"buckets without shapes"),
        ({"shapes": ("s",), "buckets": {"s": (8.0,)}}, r"buckets\['s'\] must be positive integers"),
        ({"cut": "sometimes"}, "cut must be one of .*; got 'sometimes'"),
        ({"on_unsupported": "ignore"}, "on_unsupported must be one of .*; got 'ignore'"),
        ({"max_executables": 0}, "max_executables must be an integer of at least 1; got 0"),
    ],
)
def test_malformed_arguments_are_named(given: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        checked(**given)


def test_repr_shows_what_was_asked_for() -> None:
    assert repr(Options()) == "Options()"
    options = checked(shapes=("b, s", None), buckets={"s": (8, 16)}, poison=True)
    assert repr(options) == ("Options(shapes=('b, s', None), buckets={'s': (8, 16)}, poison=True)")
    assert len(repr(checked(shapes=("b, s",) * 1000))) < 200
