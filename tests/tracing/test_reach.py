"""What a function seems to call is found in names, closures, objects and partials."""

from __future__ import annotations

import builtins
import functools
from typing import Any, ClassVar

import pytest

from sod2jax.tracing import reach


def helper(x: Any) -> Any:
    return x


class Model:
    scale = staticmethod(helper)

    def __init__(self, function: Any):
        self.function = function

    def __call__(self, x: Any) -> Any:
        return self.function(x)


def closing(function: Any) -> Any:
    return lambda x: function(x)


class Registry:
    """Holds functions that nothing else names."""

    table: ClassVar[dict[str, Any]] = {}


Registry.table["help"] = helper


@pytest.mark.parametrize(
    "fun",
    [
        lambda x: Registry.table["help"](x),
        lambda x: helper(x),
        lambda x: [helper(y) for y in x],
        closing(helper),
        functools.partial(lambda f, x: f(x), helper),
        functools.partial(lambda x, f: f(x), f=helper),
        Model(helper),
        Model({"a": [helper]}),
        Model(helper).__call__,
    ],
)
def test_functions_that_are_called_are_found(fun):
    assert helper in reach.functions(fun)


def test_a_function_is_found_once_and_what_is_never_mentioned_is_not():
    found = reach.functions(lambda x: helper(helper(x)))
    assert found.count(helper) == 1
    assert closing not in found


def test_what_others_left_among_the_builtins_is_not_called(monkeypatch):
    monkeypatch.setattr(builtins, "_", helper, raising=False)
    assert helper not in reach.functions(lambda x: __builtins__["type"](x))


def test_modules_of_python_and_jax_are_not_others():
    assert not any(map(reach.is_others, (vars(functools), {"__name__": "jax.numpy"})))
    assert reach.is_others(globals())
