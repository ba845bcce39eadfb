"""Functions that close over sizes, rebuilt with numbers."""

from __future__ import annotations

import dataclasses
import functools
from collections import namedtuple

import jax
import numpy as np
import pytest
from jax import export

from sod2jax.ir import closures
from sod2jax.ir.closures import HiddenSize

N, M = export.symbolic_shape("n, m")
Pair = namedtuple("Pair", "first second")


@dataclasses.dataclass(frozen=True)
class Frozen:
    size: object
    other: object = "same"

    def read(self):
        return self.size


@dataclasses.dataclass
class Open:
    size: object


def returning(value):
    return lambda: value


def at(value, **sizes):
    return closures.at(returning(value), {"n": 3, "m": 5, **sizes})()


@pytest.mark.parametrize(
    ("value", "want"),
    [
        (N, 3),
        (2 * N + M, 11),
        ((N, 1, (M,)), (3, 1, (5,))),
        (Pair(N, "x"), Pair(3, "x")),
        (slice(1, N), slice(1, 3)),
        (frozenset([N]), frozenset([3])),
        (jax.ShapeDtypeStruct((N, 4), np.float32), jax.ShapeDtypeStruct((3, 4), np.float32)),
        (Frozen(N), Frozen(3)),
    ],
)
def test_values_that_never_change_are_rebuilt(value, want):
    assert at(value) == want
    assert closures.symbols(returning(value)) <= {"n", "m"}
    assert closures.symbols(returning(value))


def test_functions_are_rebuilt():
    assert at(returning(N))() == 3
    assert at(functools.partial(max, N, key=None))(2) == 3
    assert at(Frozen(N).read)() == 3

    def default(a=N, *, b=M):
        return a, b

    assert at(default)() == (3, 5)


def test_what_has_no_size_stays_the_same_object():
    values = [[1], {"a": (2,)}, Open(1), np.ones(2), Frozen(1), returning(1), len, (1, [2])]
    for value in values:
        assert at(value) is value
        assert closures.symbols(returning(value)) == frozenset()


def test_variables_without_sizes_stay_shared():
    count = 0
    n = N

    def call():
        nonlocal count
        count += n

    closures.at(call, {"n": 3})()
    assert count == 3


@pytest.mark.parametrize("value", [[N], {"a": N}, {N}, Open(N), [(Open([N]),)]])
def test_what_may_change_is_refused(value):
    with pytest.raises(HiddenSize, match="may change"):
        at(value)
    assert closures.symbols(returning(value)) == {"n"}


def test_trees_of_arguments_are_refused():
    @jax.tree_util.register_static
    @dataclasses.dataclass(frozen=True)
    class Static:
        size: object

    with pytest.raises(HiddenSize):
        at(jax.tree.structure((Static(N), 1)))


def test_variables_that_are_assigned_are_refused():
    n = N

    def call():
        nonlocal n
        n = n + 1

    with pytest.raises(HiddenSize, match="assigns"):
        closures.at(call, {"n": 3})


def test_functions_that_call_themselves():
    n = N

    def halved(k):
        return n if k == 0 else halved(k // 2)

    with pytest.raises(HiddenSize, match="itself"):
        closures.at(halved, {"n": 3})

    def plain(k):
        return 0 if k == 0 else plain(k // 2)

    assert closures.at(plain, {"n": 3}) is plain


GLOBAL_SHAPE = (N, 2)


def test_global_variables_are_refused():
    with pytest.raises(HiddenSize, match="global"):
        closures.at(lambda: GLOBAL_SHAPE, {"n": 3})


def test_compiled_functions_are_refused():
    with pytest.raises(HiddenSize):
        at(jax.jit(returning(N)))
    with pytest.raises(HiddenSize):
        at(functools.lru_cache(returning(N)))
