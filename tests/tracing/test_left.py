"""Traces at concrete sizes leave no numbers where a symbolic one left what stands for them."""

from __future__ import annotations

import collections
import types
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import sod2jax
from sod2jax.errors import StateError
from sod2jax.planning import trust
from sod2jax.tracing.left import kept

LAST: Any = None


class Slotted:
    __slots__ = ("n",)


class Model:
    """Stores a size in every way that a function can be seen to."""

    of_class: Any = None

    def __init__(self) -> None:
        self.sizes: list[Any] = []
        self.table: dict[str, Any] = {}
        self.inner = types.SimpleNamespace()
        self.slotted = Slotted()
        self.queue: collections.deque[Any] = collections.deque(maxlen=2)
        self.config: Any = None
        self.rows: list[Any] = []
        count = None

        def store(n: Any) -> None:
            nonlocal count
            count = n

        self.store, self.stored = store, lambda: count

    def __call__(self, x: jax.Array) -> jax.Array:
        global LAST
        n = x.shape[0]
        self.length = LAST = Model.of_class = self.table["n"] = self.inner.n = n
        self.shape = x.shape
        self.half = n * 0.5
        self.sizes.append(n)
        self.store(n)
        self.slotted.n = n
        self.queue.append(n)
        self.config = {"sizes": [n], "inner": types.SimpleNamespace(n=n)}
        self.rows.append({"n": n})
        return x * n


READ: dict[str, Callable[[Model], Any]] = {
    "attribute": lambda m: m.length,
    "shape": lambda m: m.shape[0],
    "number": lambda m: m.half,
    "list": lambda m: m.sizes[-1],
    "table": lambda m: m.table["n"],
    "inner": lambda m: m.inner.n,
    "slot": lambda m: m.slotted.n,
    "queue": lambda m: m.queue[-1],
    "list made anew": lambda m: m.config["sizes"][0],
    "object made anew": lambda m: m.config["inner"].n,
    "rows": lambda m: m.rows[-1]["n"],
    "closure": lambda m: m.stored(),
    "class": lambda m: m.of_class,
    "global": lambda m: LAST,
}


@pytest.mark.parametrize("audit", [True, False])
def test_what_is_stored_is_refused_after_an_audit_as_without(audit, monkeypatch):
    monkeypatch.setattr(trust, "_SHARE", 1e9)  # all sizes that an audit may try
    model = Model()
    function = sod2jax.optimize(model, shapes=("n, 3",), constraints=("n <= 9",), audit=audit)
    for size in (5, 1, 9):
        x = np.full((size, 3), 2, np.float32)
        np.testing.assert_array_equal(function(x), x * size)
    (program,) = function.planner.specialisations
    assert (len(program.trust.audited) > 1) == audit
    assert len(model.sizes) == 1
    for name, read in READ.items():
        with pytest.raises(StateError, match="test_left"):
            sod2jax.optimize(lambda x, read=read: x * read(model))(x)
        assert "int" not in type(read(model)).__name__, name


def test_checked_programs_leave_none_either():
    model = Model()

    def fun(x: jax.Array) -> jax.Array:
        str(x.shape[0])  # a doubt: each size is traced
        return model(x)

    function = sod2jax.optimize(fun, shapes=("n",), constraints=("n <= 9",))
    for size in (5, 1, 9):
        function(np.ones(size, np.float32))
    (program,) = function.planner.specialisations
    assert program.trust.is_checked
    assert str(model.length) == str(model.sizes[-1]) == "n"


def test_numbers_of_before_are_let_be():
    model = Model()
    model.length, model.sizes, model.table["n"] = 3, [1], 2
    with kept(model):
        model.length, model.table["n"] = 4, 5
        model.sizes.append(7)
    assert (model.length, model.sizes, model.table) == (4, [1, 7], {"n": 5})
