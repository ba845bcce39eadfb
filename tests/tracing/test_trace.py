"""Tracing: symbolic programs from functions and specs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sod2jax.arguments.signature import leaves_of
from sod2jax.errors import TraceError
from sod2jax.ir import dims
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.program import Program
from sod2jax.tracing import regimes
from sod2jax.tracing.trace import Undecided, trace
from tests.compile_log import compile_log


def program(fun, *args, specs, constraints=()):
    """Traces ``fun(*args)``; ``specs`` has one spec per argument."""
    names = [f"x{k}" for k in range(len(args))]
    leaves = leaves_of(dict(zip(names, args, strict=True)), dict(zip(names, specs, strict=True)))
    regime = regimes.base(leaves, [Comparison.parse(text) for text in constraints])
    return trace(fun, args, regime, "f")


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


def test_shapes_are_symbolic():
    traced = program(
        lambda x, y: (x.reshape(-1) + 1, {"y": x @ y}),
        zeros(2, 3),
        zeros(3, 4),
        specs=("b, s", "s, _"),
    )
    b, s = dims.parse("b"), dims.parse("s")
    assert isinstance(traced, Program)
    assert traced.in_shapes == ((b, s), (s, 4))
    assert traced.out_shapes == ((b * s,), (b, 4))
    assert traced.symbols == ("b", "s")
    assert traced.in_names == ("x0", "x1")
    assert jax.tree.unflatten(traced.out_tree, [1, 2]) == (1, {"y": 2})


def test_dtypes_and_weak_types_are_kept():
    traced = program(lambda x, k: (x * k, k), zeros(3, dtype=np.int32), 2, specs=("s", None))
    avals = [atom.aval for atom in traced.jaxpr.outvars]
    assert [a.dtype for a in avals] == [np.int32, np.int32]
    assert [a.weak_type for a in avals] == [False, True]


def test_closed_over_arrays_become_constants_of_the_program():
    weights = jnp.arange(6.0).reshape(2, 3)
    traced = program(lambda x: x @ weights, zeros(5, 2), specs=("s, 2",))
    assert [np.asarray(c).tolist() for c in traced.constants] == [weights.tolist()]
    assert traced.constants[0] is weights


def test_tracing_compiles_nothing():
    with compile_log() as log:
        program(lambda x: jax.nn.softmax(x).sum(), zeros(3), specs=("s",))
    assert "compile" not in log


def test_tracing_may_rely_on_constraints():
    def blocks(x):
        return x.reshape(x.shape[0] // 4, 4) if x.shape[0] % 4 == 0 else x

    traced = program(blocks, zeros(8), specs=("s",), constraints=("mod(s, 4) == 0", "s <= 64"))
    assert traced.out_shapes == ((dims.parse("floordiv(s, 4)"), 4),)


@pytest.mark.parametrize(
    "constraint", ["s // 2 <= 9", "s % 4 == 0", "2*s >= t", "s == t", "t - s <= 3"]
)
def test_constraints_reach_jax_in_its_own_grammar(constraint):
    traced = program(
        lambda x, y: x * 2, zeros(8), zeros(8), specs=("s", "t"), constraints=(constraint,)
    )
    assert traced.out_shapes[0] in [(dims.parse("s"),), (dims.parse("t"),)]


def test_a_comparison_that_differs_within_the_region_is_decided_as_the_call_does():
    def pick(x):
        return x * 2 if x.shape[0] > 4 else x

    for size, left, right, ranges in [(8, "s - 1", 4, (5, 64)), (3, 4, "s", (1, 4))]:
        traced = program(pick, zeros(size), specs=("s",), constraints=("s <= 64",))
        assert isinstance(traced, Program)
        (guard,) = traced.guards
        assert (str(guard.left), guard.op, str(guard.right)) == (str(left), ">=", str(right))
        assert "test_trace.py" in guard.source
        assert traced.region.ranges == (("s", *ranges),)
    assert program(pick, zeros(8), specs=("s",), constraints=("s >= 5",)).guards == ()


def test_a_decision_that_leaves_one_size_is_returned():
    traced = program(lambda x: x[1:] if x.shape[0] > 1 else x, zeros(1), specs=("s",))
    assert isinstance(traced, Undecided)
    assert traced.question.holds({"s": 1}) and not traced.question.holds({"s": 2})


def test_a_trace_that_fails_after_a_decision_asks_about_that():
    def only_long(x):
        assert x.shape[0] > 4 and x.shape[0] % 2 == 0
        return x

    traced = program(only_long, zeros(6), specs=("s",))
    assert isinstance(traced, Undecided)
    assert (str(traced.question.left), traced.question.right) == ("s - 1", 4)


def test_a_trace_does_not_decide_without_end():
    def root(x):
        k = 1
        while k * k < x.shape[0]:
            k += 1
        return x * k

    assert isinstance(program(root, zeros(36), specs=("s",)), Program)
    assert isinstance(program(root, zeros(400), specs=("s",)), Undecided)


def test_an_assertion_that_some_sizes_pass_is_returned_with_its_error():
    def refuse(x):
        assert x.shape[0] % 4 == 0
        return x

    traced = program(refuse, zeros(3), specs=("s",))
    assert isinstance(traced, Undecided)
    assert (traced.question.left, traced.question.right) == (dims.parse("mod(s, 4)"), 0)
    assert isinstance(traced.error, TraceError)
    assert isinstance(traced.error.__cause__, AssertionError)
    assert "cannot be traced with the symbolic shapes x0: (s)" in str(traced.error)


@pytest.mark.parametrize(
    "fun",
    [
        lambda x: jnp.stack([x[k] for k in range(x.shape[0])]),
        lambda x: x * float(x.shape[0]),
        lambda x: {3: x}[x.shape[0]],
        lambda x: x if x.sum() > 0 else -x,
    ],
    ids=["range", "float", "dictionary", "value"],
)
def test_what_needs_numbers_is_refused_with_advice(fun):
    with pytest.raises(TraceError) as caught:
        program(fun, zeros(3), specs=("s",))
    message = str(caught.value)
    assert "f cannot be traced with the symbolic shapes x0: (s) (1 <= s)" in message
    assert "What can help: " in message
    assert "test_trace.py:" in message
    assert caught.value.__cause__ is not None


def test_a_value_that_an_outer_transformation_traces_cannot_be_closed_over():
    def outer(w):
        with pytest.raises(TraceError, match=r"closes over a value .* pass it as an argument"):
            program(lambda x: x * w, zeros(3), specs=("s",))
        return w

    jax.grad(outer)(1.0)
    jax.jit(outer)(1.0)


def test_printed_form():
    traced = program(lambda x: x * 2, zeros(3), specs=("s",), constraints=("s <= 8",))
    assert str(traced) == "program f: 1 equation, for 1 <= s <= 8\n  x0: float32[s]"
