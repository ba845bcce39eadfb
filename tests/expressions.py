"""Random dimension expressions with a second way to evaluate them: plain Python."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

NAMES = ("a", "b", "c")


def _binary(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({} {} {})".format, parts, st.sampled_from("+-*"), parts),
        st.builds("floordiv({}, {})".format, parts, st.integers(1, 5)),
        st.builds("mod({}, {})".format, parts, st.integers(1, 5)),
        st.builds("max({}, {})".format, parts, parts),
        st.builds("min({}, {})".format, parts, parts),
        st.builds("(({})^2)".format, parts),
    )


def texts(max_leaves: int = 6) -> st.SearchStrategy[str]:
    """Expressions over ``NAMES`` in the grammar of ``jax.export.symbolic_shape``."""
    leaves = st.one_of(st.sampled_from(NAMES), st.integers(0, 6).map(str))
    return st.recursive(leaves, _binary, max_leaves=max_leaves)


def sizes(high: int = 9) -> st.SearchStrategy[dict[str, int]]:
    """A size from 1 to ``high`` for each name."""
    return st.fixed_dictionaries({name: st.integers(1, high) for name in NAMES})


def python_value(text: str, values: dict[str, Any], **calls: Callable[..., Any]) -> Any:
    """The value of an expression by Python operators; ``calls`` replace ``max`` and ``min``."""
    operators = {"floordiv": operator.floordiv, "mod": operator.mod, "max": max, "min": min}
    return eval(text.replace("^", "**"), {**operators, **calls}, dict(values))
