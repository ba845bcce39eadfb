"""Trees of every kind go in and come out as they do with jax.jit; each tree is a program."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
from tests.arguments.trees.compare import SIZES, compare, normal


class Pair(NamedTuple):
    left: Any
    right: Any = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Batch:
    x: Any
    y: Any
    mode: str = dataclasses.field(metadata={"static": True}, default="plain")


@flax.struct.dataclass
class State:
    x: Any
    power: int = flax.struct.field(pytree_node=False, default=1)


class Plain:
    def __init__(self, first, second):
        self.first, self.second = first, second


class Keyed(Plain):
    pass


jax.tree_util.register_pytree_node(
    Plain, lambda p: ((p.first, p.second), None), lambda _, parts: Plain(*parts)
)
jax.tree_util.register_pytree_with_keys(
    Keyed,
    lambda p: (
        (
            (jax.tree_util.GetAttrKey("first"), p.first),
            (jax.tree_util.GetAttrKey("second"), p.second),
        ),
        None,
    ),
    lambda _, parts: Keyed(*parts),
)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Scale:
    factor: int


def swap(node):
    """Every node as an argument, and another of its type as a result."""
    leaves, tree = jax.tree.flatten(node)
    return jax.tree.unflatten(tree, [2 * leaf for leaf in leaves]), [leaf.sum() for leaf in leaves]


NODES = {
    "tuple": lambda n: (normal(n), normal(n, 3)),
    "named tuple": lambda n: Pair(normal(n), normal(n, 3)),
    "named tuple with None": lambda n: Pair(normal(n)),
    "dictionary": lambda n: {"b": normal(n), "a": normal(n, 3)},
    "ordered dictionary": lambda n: collections.OrderedDict(b=normal(n), a=normal(n, 3)),
    "default dictionary": lambda n: collections.defaultdict(list, b=normal(n), a=normal(n, 3)),
    "integer keys": lambda n: {10: normal(n), 9: normal(n, 3)},
    "dataclass": lambda n: Batch(normal(n), normal(n, 3)),
    "flax.struct": lambda n: State(normal(n), 2),
    "registered": lambda n: Plain(normal(n), {"z": normal(n, 3)}),
    "registered with keys": lambda n: Keyed(normal(n), {"z": [normal(n, 3), None]}),
    "static leafless": lambda n: [Scale(3), normal(n)],
    "empty parts": lambda n: [{}, (), None, [], normal(n)],
}


@pytest.mark.parametrize("make", NODES.values(), ids=NODES)
def test_nodes(make):
    stats = compare(swap, [(make(n),) for n in SIZES])
    assert (stats.traces, stats.compiles) == (2, 2)


def test_a_spec_may_be_a_node_of_the_same_type():
    prefixes = {
        "tuple": ("n", "n, 3"),
        "named tuple": Pair("n", "n, 3"),
        "named tuple with None": Pair("n", None),
        "ordered dictionary": collections.OrderedDict(b="n", a="n, _"),
        "dataclass": Batch("n", "n, 3"),
        "flax.struct": State("n"),
        "registered": Plain("n", "n, 3"),
        "registered with keys": Keyed("n", {"z": ["n, 3", None]}),
        "empty parts": [{}, (), None, [], "n"],
    }
    for name, spec in prefixes.items():
        stats = compare(swap, [(NODES[name](n),) for n in SIZES], shapes=(spec,))
        assert (stats.traces, stats.compiles) == (1, 1), name


def test_a_spec_fits_whatever_the_static_fields_are():
    calls = [(Batch(normal(n), normal(3), mode),) for mode in ("a", "b") for n in SIZES]
    stats = compare(swap, calls, shapes=(Batch("n", None),))
    assert (stats.traces, stats.compiles) == (2, 2)


def test_static_fields_are_part_of_the_program():
    def power(state, scale):
        return state.replace(x=scale.factor * state.x**state.power), scale

    calls = [(State(normal(n), p), Scale(f)) for p in (1, 2) for f in (3, 4) for n in SIZES]
    assert compare(power, calls, shapes=("n", None)).traces == 4


def test_each_tree_is_a_program_and_the_earlier_ones_stay():
    f = sod2jax.optimize(
        lambda tree: sum(leaf.sum() for leaf in jax.tree.leaves(tree)),
        shapes=("n, ...",),
        poison=True,
    )
    makes = [NODES[name] for name in ("tuple", "named tuple with None", "dictionary", "dataclass")]
    for traces, make in enumerate(makes, 1):
        for n in SIZES:
            want = sum(leaf.sum() for leaf in jax.tree.leaves(make(n)))
            np.testing.assert_allclose(f(make(n)), want, rtol=1e-4, atol=1e-5)
        assert f.stats().traces == traces
    for make in makes:
        f(make(7))
    stats = f.stats()
    assert (stats.traces, stats.compiles) == (4, 4)
    assert stats.calls == sum(stats.hits.values()) == 4 * (len(SIZES) + 1)


def test_results_of_every_kind():
    def results(x, p):
        size = x.shape[0]
        fixed = jnp.arange(3), np.arange(3.0), np.float32(4), np.int8(5)
        return {
            "inputs": (x, p, x, x),
            "repeated": [y := 2 * x, y, y],
            "scalars": (3, 2.5, True, 1j, size, 2 * size + 1),
            "fixed": fixed,
            "nothing": None,
            "node": Pair(x.T, Batch(x.sum(), None, "made")),
            "transposed": x.T,
        }

    calls = [(normal(n, 3), normal(2)) for n in SIZES]
    assert compare(results, calls).traces == 2
    assert compare(results, calls, shapes=("n, 3", None)).traces == 1


@pytest.mark.parametrize("result", [None, (), {}, [None, {}]], ids=str)
def test_no_results_at_all(result):
    compare(lambda x: result, [(normal(n),) for n in SIZES], shapes=("n",))


def test_no_arguments_at_all():
    assert compare(lambda: jnp.ones(3), [(), ()]).traces == 1
    assert compare(lambda *xs: len(xs), [([], {}, None)] * 2).traces == 1
