"""The decorated function is the function: results, errors, transformations, threads, no retrace."""

from __future__ import annotations

import collections
import dataclasses
import inspect
import random
import re
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import sod2jax
from sod2jax.buckets.bucket import Bucket
from sod2jax.errors import (
    ExactFallbackWarning,
    ShapeError,
    SpecError,
    TraceError,
    UnsupportedPrimitiveError,
)
from tests.compile_log import compile_log


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def attention(x, w):
    """[b, s, 4], [4, 4] -> {"mixed": [b, s, 4], "mean": [4]}."""
    scores = jnp.einsum("bsd,btd->bst", x @ w, x)
    mixed = jax.nn.softmax(scores) @ x
    return {"mixed": mixed, "mean": mixed.mean((0, 1))}


SPECS = {"shapes": ("b, s, 4", None), "buckets": {"b": (3,), "s": (4, 8)}}
W = normal(4, 4, seed=1)


def optimized(fun=attention, **options):
    return sod2jax.optimize(fun, **{"on_unsupported": "error", **SPECS, **options})


def assert_close(found, want):
    assert jax.tree.structure(found) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(want), strict=True):
        assert isinstance(a, jax.Array)
        assert (a.shape, a.dtype, a.weak_type) == (b.shape, b.dtype, b.weak_type)
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-5, atol=1e-5)


# Results


@pytest.mark.parametrize(("b", "s"), [(1, 1), (2, 4), (3, 5), (3, 8)])
def test_equals_jit(b, s):
    f = optimized()
    x = normal(b, s, 4)
    assert_close(f(x, W), jax.jit(attention)(x, W))


def test_poison_changes_no_bit():
    clean, poisoned = optimized(), optimized(poison=True)
    for b, s in [(1, 1), (2, 3), (3, 7)]:
        x = normal(b, s, 4)
        for a, b_ in zip(*(jax.tree.leaves(f(x, W)) for f in (clean, poisoned)), strict=True):
            assert np.asarray(a).tobytes() == np.asarray(b_).tobytes()


Pair = collections.namedtuple("Pair", ["left", "right"])


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class State:
    x: jax.Array
    count: jax.Array | None


def test_trees_are_kept():
    def rearrange(pair, state):
        swapped = Pair(pair.right * 2, pair.left)
        return {"pair": swapped, "none": None}, [State(state.x + 1, None), (pair.left.sum(),)]

    specs = (Pair("s", "s, t"), State("t", None))
    f = optimized(rearrange, shapes=specs, buckets={"s": (8,), "t": (4,)})
    args = Pair(normal(5), normal(5, 3)), State(normal(3), jnp.int32(4))
    found = f(*args)
    assert_close(found, jax.jit(rearrange)(*args))
    assert type(found[0]["pair"]) is Pair
    assert found[0]["none"] is None
    assert found[1][0].count is None


def test_python_scalars_and_weak_types():
    def scale(x, a, b, flag):
        return x * a, x * b, x + flag, a, jnp.asarray(a) * 2

    f = optimized(scale, shapes={"x": "s"}, buckets={"s": (8,)})
    for x in (np.arange(3, dtype=np.int32), normal(5), np.arange(6.0)):
        for a, b in ((2, 2.5), (np.float32(2), 3), (jnp.int8(2), True)):
            assert_close(f(x, a, b, True), jax.jit(scale)(x, a, b, True))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int8", "uint32", "bool", "complex64"])
def test_dtypes(dtype):
    def work(x):
        return x[::-1], jnp.sum(x, 0, keepdims=True), x @ x.T, jnp.where(x == x[:1], x, 0)

    x = (normal(5, 3) * 3).astype(jnp.dtype(dtype))
    f = optimized(work, shapes=("s, 3",), buckets={"s": (8,)}, poison=True)
    for a, b in zip(f(x), jax.jit(work)(x), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(np.asarray(a, complex), np.asarray(b, complex), rtol=0.05)


def test_64_bit_mode_has_programs_of_its_own():
    f = optimized(lambda x: x * 2, shapes=("s",), buckets={"s": (8,)})
    assert f(np.arange(3.0)).dtype == np.float32
    with jax.enable_x64(True):
        assert f(np.arange(3.0)).dtype == np.float64
    assert f(np.arange(3.0)).dtype == np.float32
    assert f.stats().traces == 2


def test_typed_keys_may_be_padded():
    def draw(keys, flip):
        keys = jnp.where(flip, keys, keys[::-1])
        return jax.vmap(jax.random.normal)(keys), keys

    keys = jax.random.split(jax.random.key(3), 5)
    args = keys, np.arange(5) < 2
    f = optimized(draw, shapes=("s", "s"), buckets={"s": (8,)}, poison=True)
    numbers, found = f(*args)
    want_numbers, want = jax.jit(draw)(*args)
    np.testing.assert_array_equal(numbers, want_numbers)
    assert found.dtype == want.dtype
    np.testing.assert_array_equal(jax.random.key_data(found), jax.random.key_data(want))


def masks_of_two_axes(x, y):
    return x.prod(1), x.sum(0), y.prod(0), y.sum(1), jnp.maximum(x, y).prod()


def mask_chosen_softmax(x, keep, y):
    return keep.all(1), jnp.where(keep, jax.nn.softmax(x, 1), 0.0) @ y


def integer_shares(x):
    sizes = lax.abs(x)
    totals = jnp.broadcast_to(sizes.sum(1, keepdims=True), sizes.shape)
    return lax.div(sizes, totals).sum(1)


@pytest.mark.parametrize(
    ("fun", "args", "shapes"),
    [
        (
            lambda x, y: (x.sum(1), x @ y),
            (normal(3, 5).astype(jnp.bfloat16), normal(5, 3).astype(jnp.bfloat16)),
            ("b, s", "s, 3"),
        ),
        (masks_of_two_axes, (1 + normal(3, 5) ** 2, 2 + normal(3, 5) ** 2), ("b, s", "b, s")),
        (
            mask_chosen_softmax,
            (np.full((3, 5), -np.inf, np.float32), np.zeros((3, 5), bool), normal(5, 3)),
            ("b, s", "b, s", "s, 3"),
        ),
        (integer_shares, (np.zeros((3, 5), np.int32),), ("b, s",)),
        (lambda z: (z.sum(1), (z * 2j).sum(1)), (normal(3, 5) + 1j * normal(3, 5),), ("b, s",)),
    ],
    ids=["bfloat16", "two axes", "chosen softmax", "integer shares", "complex"],
)
def test_what_is_known_of_padding_is_never_more_than_true(fun, args, shapes):
    buckets = {name: size for name, size in {"b": (4,), "s": (8,)}.items() if name in str(shapes)}
    f = optimized(fun, shapes=shapes, buckets=buckets, poison=True)
    for a, b in zip(*map(jax.tree.leaves, (f(*args), jax.jit(fun)(*args))), strict=True):
        np.testing.assert_allclose(np.asarray(a, complex), np.asarray(b, complex), rtol=1e-5)


# Calling


def test_calling_convention_is_that_of_the_function():
    def work(x, scale=2.0, *rest, mask=None, power=1):
        total = sum(rest, x * scale) ** power
        return total if mask is None else total * mask

    specs = {"x": "s", "rest": "s", "mask": "s"}
    f = optimized(work, shapes=specs, buckets={"s": (8,)}, static_argnames="power")
    x = normal(5)
    for args, kwargs in [
        ((x,), {}),
        ((), {"x": x}),
        ((x, 3.0), {"mask": x > 0}),
        ((x, 3.0, x, x), {"power": 2}),
        ((x,), {"mask": x > 0, "scale": 3.0}),
    ]:
        want = jax.jit(work, static_argnames="power")(*args, **kwargs)
        assert_close(f(*args, **kwargs), want)


def test_specs_skip_static_arguments():
    f = optimized(
        lambda x, mode, y: x + y if mode == "add" else x - y,
        shapes=("s", "s"),
        buckets={"s": (8,)},
        static_argnums=1,
    )
    x, y = normal(5), normal(5, seed=1)
    np.testing.assert_allclose(f(x, "add", y), x + y)
    np.testing.assert_allclose(f(x, "sub", y), x - y)
    assert f.bucket_for(x, "add", y) == Bucket.of({"s": 8})
    assert f.stats().traces == 2


def test_decorates_with_and_without_options():
    @sod2jax.optimize
    def bare(x):
        """Doubles."""
        return x * 2

    @sod2jax.optimize(shapes=("s",))
    def configured(x):
        return x * 2

    assert bare.__name__ == "bare"
    assert bare.__doc__ == "Doubles."
    assert list(inspect.signature(bare).parameters) == ["x"]
    np.testing.assert_array_equal(bare(np.arange(3.0)), configured(np.arange(3.0)))


def test_transformations_inline_the_function():
    f = optimized()
    x = normal(2, 5, 4)

    def loss(fun, x, w):
        return (fun(x, w)["mixed"] ** 2).sum()

    assert_close(jax.jit(f)(x, W), jax.jit(attention)(x, W))
    assert_close(
        jax.grad(loss, argnums=(1, 2))(f, x, W), jax.grad(loss, argnums=(1, 2))(attention, x, W)
    )
    batch = normal(3, 2, 5, 4)
    assert_close(
        jax.vmap(f, in_axes=(0, None))(batch, W), jax.vmap(attention, in_axes=(0, None))(batch, W)
    )
    assert_close(jax.jvp(f, (x, W), (x, W)), jax.jvp(attention, (x, W), (x, W)))
    assert jax.eval_shape(f, x, W) == jax.eval_shape(attention, x, W)
    assert f.stats() == sod2jax.optimize(attention).stats()


def test_concrete_arguments_inside_a_transformation():
    table = normal(4, 2)
    f = optimized(lambda x: x @ table, shapes=("s, 4",), buckets={"s": (4, 8)})
    x = normal(3, 4)
    total = (x @ table).sum()
    assert jax.jit(lambda y: f(x).sum() * y)(1.0) == pytest.approx(total, rel=1e-5)
    assert jax.grad(lambda y: f(x).sum() * y)(1.0) == pytest.approx(total, rel=1e-5)
    np.testing.assert_allclose(f(x), x @ table, rtol=1e-5)


@pytest.mark.parametrize("setting", ["jax_debug_nans", "jax_debug_infs", "jax_disable_jit"])
def test_debugging_jax_sees_no_padding(setting):
    f = optimized(lambda x: 1 / x, shapes=("s",), buckets={"s": (8,)})
    x = 1 + normal(3) ** 2
    jax.config.update(setting, True)
    try:
        np.testing.assert_allclose(f(x), 1 / x, rtol=1e-6)
    finally:
        jax.config.update(setting, False)
    assert f.stats().exact_fallbacks == 1
    f(x)
    assert f.stats().exact_fallbacks == 1


def test_closed_over_tracers_are_exact():
    x = normal(5)

    def loss(w):
        f = sod2jax.optimize(lambda x: (x * w).sum(), shapes=("s",))
        with pytest.warns(ExactFallbackWarning, match="closes over a value .* pass it as an arg"):
            return f(x)

    assert jax.grad(loss)(2.0) == pytest.approx(x.sum(), rel=1e-5)


# Executables


def test_no_trace_and_no_compile_after_compile():
    f = optimized().compile(normal(1, 1, 4), W)
    assert f.stats().compiles == len(f.buckets) == 2
    with compile_log() as log:
        for b in (1, 2, 3):
            for s in range(1, 9):
                f(normal(b, s, 4), W)
    assert log == []
    stats = f.stats()
    assert (stats.calls, stats.traces, stats.compiles) == (24, 1, 2)
    assert stats.hits == {Bucket.of({"b": 3, "s": 4}): 12, Bucket.of({"b": 3, "s": 8}): 12}
    assert stats.exact_fallbacks == 0
    assert "24 calls, 1 traces, 2 compiles" in str(stats)


def test_compile_takes_abstract_arguments_and_returns_the_function():
    f = optimized()
    assert f.compile(jax.ShapeDtypeStruct((2, 3, 4), np.float32), w=W) is f
    with compile_log() as log:
        f(normal(1, 7, 4), w=W)
    assert log == []


def test_nothing_is_compiled_that_no_call_asks_for():
    f = optimized()
    assert f.buckets == ()
    f(normal(1, 2, 4), W)
    assert f.stats().compiles == 1
    assert f.bucket_for(normal(1, 7, 4), W) == Bucket.of({"b": 3, "s": 8})
    assert f.stats().compiles == 1
    f(normal(2, 3, 4), W)
    assert f.stats().compiles == 1


def test_a_trace_compiles_nothing_and_prints():
    f = optimized()
    analysis = f.trace(normal(1, 2, 4), W)
    assert f.stats().compiles == 0
    assert "x: float32[b,s,4]" in str(analysis)
    assert "operators: " in str(analysis)


def test_padding_waste_is_counted():
    f = optimized(lambda x: x * 2, shapes=("s",), buckets={"s": (8,)})
    f(normal(8))
    f(normal(4))
    assert f.stats().padding_waste == pytest.approx(0.5)


def test_another_dtype_or_tree_is_another_program():
    f = optimized(lambda x: jax.tree.map(lambda y: y * 2, x), shapes=("s",), buckets={"s": (8,)})
    for size in (3, 5):
        f(normal(size))
        f(np.arange(size))
        f([normal(size)])
    stats = f.stats()
    assert (stats.traces, stats.compiles) == (3, 3)


def test_unbounded_symbols_grow_on_demand():
    f = optimized(lambda x: x.sum(0), shapes=("s, 3",), buckets=None, poison=True)
    for size in (3, 40, 5, 300, 17):
        x = normal(size, 3)
        np.testing.assert_allclose(f(x), x.sum(0), rtol=1e-4)
    assert [b["s"] for b in f.buckets] == [16, 32, 64, 512]
    assert (f.stats().traces, f.stats().compiles) == (1, 4)


def test_buckets_are_chosen_within_the_limit():
    f = optimized(
        lambda x: x * 2, shapes=("b, s",), buckets=None, constraints=("b <= 4", "s <= 512")
    )
    f.trace(normal(1, 1))
    assert 1 < len(f.buckets) <= 8
    assert f.buckets[-1] == Bucket.of({"b": 4, "s": 512})


def test_closed_over_arrays_are_shared_by_executables():
    table = jnp.asarray(normal(1000, 4))
    f = optimized(lambda x: x @ table.T, shapes=("s, 4",), buckets={"s": (4, 8)})
    x = normal(3, 4)
    np.testing.assert_allclose(f.compile(x)(x), x @ table.T, rtol=1e-5, atol=1e-5)
    (made,) = f.planner.specialisations
    assert made.analysis.program.constants[0] is table
    for executable in made.executables.ready:
        assert not executable.jaxpr.consts
        assert executable.call.memory_analysis().generated_code_size_in_bytes < table.nbytes


def test_closed_over_arrays_of_inner_functions_are_shared_too():
    table = normal(1000, 4)

    @jax.jit
    def layer(x):
        return x @ table.T

    f = optimized(lambda x: layer(x) @ layer(x).T, shapes=("s, 4",), buckets={"s": (4, 8)})
    x = normal(3, 4)
    np.testing.assert_allclose(f.compile(x)(x), (x @ table.T) @ (x @ table.T).T, rtol=1e-4)
    (made,) = f.planner.specialisations
    (constant,) = made.analysis.program.constants
    assert isinstance(constant, jax.Array)
    assert not any(executable.jaxpr.consts for executable in made.executables.ready)


def test_threads_share_executables():
    f = optimized(buckets={"b": (3,), "s": (2, 4, 8)})
    plain = jax.jit(attention)
    rng = random.Random(0)
    points = [(rng.randint(1, 3), rng.randint(1, 8)) for _ in range(64)]
    want = {point: plain(normal(*point, 4), W) for point in set(points)}
    start = threading.Barrier(8, timeout=30)

    def work(share):
        start.wait()
        return [(point, f(normal(*point, 4), W)) for point in share]

    with ThreadPoolExecutor(8) as pool:
        for share in pool.map(work, [points[k::8] for k in range(8)]):
            for point, found in share:
                assert_close(found, want[point])
    stats = f.stats()
    assert (stats.traces, stats.compiles, stats.calls) == (1, 3, 64)
    assert sum(stats.hits.values()) == 64


# Reading


def test_memory_plan_of_a_compiled_bucket():
    f = optimized()
    f(normal(2, 3, 4), W)
    bucket = Bucket.of({"b": 3, "s": 4})
    assert str(f.memory_plan(bucket)) == str(f.memory_plan({"b": 3, "s": 4}))
    message = r"no executable of bucket b=3, s=8 is compiled; compiled buckets: b=3, s=4"
    with pytest.raises(SpecError, match=message):
        f.memory_plan(Bucket.of({"b": 3, "s": 8}))
    with pytest.raises(SpecError, match="no executable of bucket 8 is compiled"):
        f.memory_plan(8)
    single = optimized(lambda x: x * 2, shapes=("s",), buckets={"s": (8,)})
    with pytest.raises(SpecError, match="compiled buckets: none"):
        single.memory_plan(8)
    single(normal(3))
    assert single.memory_plan(8) is not None


def test_explain_has_each_mask_with_its_line_and_reason():
    f = optimized()
    assert "sod2jax report of attention" in f.explain()
    f(normal(2, 3, 4), W)
    report = f.explain()
    line = inspect.getsourcelines(attention)[1] + 3
    assert f"reduce_max at {__file__}:{line} (attention): pad lanes of s filled with -inf" in report
    assert f"reduce_sum at {__file__}:{line} (attention)" in report
    assert f"dot_general at {__file__}:{line} (attention)" in report
    assert "masks that the fill lattice made unnecessary: " in report
    assert "  b: 3\n  s: 4, 8\n  [b=3, s=4] compiled in" in report
    assert "unknown source" not in report


def test_explain_says_what_runs_with_exact_shapes():
    f = sod2jax.optimize(unsupported, shapes=("s",))
    with pytest.warns(ExactFallbackWarning):
        f(normal(3))
    assert "runs with exact shapes: primitive 'pure_callback'" in f.explain()


# Errors


def raises(error, fun, *args, match, **options):
    with pytest.raises(error, match=match):
        sod2jax.optimize(fun, **options)(*args)


def test_wrong_number_of_specs():
    raises(
        SpecError,
        attention,
        normal(1, 2, 4),
        W,
        shapes=("b, s, 4",),
        match=r"shapes has 1 specs, but the function was called with 2 arguments \['x', 'w'\]: "
        "write one spec per argument, None where the shape is fixed",
    )


def test_rank_differs():
    raises(
        SpecError,
        attention,
        normal(1, 2, 4),
        W,
        shapes=("b, s", None),
        match=r"the spec 'b, s' of 'x' has 2 dimensions, but its shape \(1, 2, 4\) has 3",
    )


def test_violated_constraint():
    f = sod2jax.optimize(lambda x: x, shapes=("b, s",), constraints=("b <= s", "mod(s, 2) == 0"))
    f(normal(2, 4))
    with pytest.raises(ShapeError, match="violates the constraint 'b <= s': b = 5, s = 4"):
        f(normal(5, 4))
    with pytest.raises(ShapeError, match=r"violates the constraint 'mod\(s, 2\) == 0': s = 5"):
        f(normal(2, 5))


def test_over_the_maximum():
    by_bound = sod2jax.optimize(
        lambda tree: tree["x"], shapes=({"x": "b, s"},), constraints=("s <= 8",)
    )
    by_bucket = sod2jax.optimize(
        lambda tree: tree["x"], shapes=({"x": "b, s"},), buckets={"s": (4, 8)}
    )
    for f in (by_bound, by_bucket):
        with pytest.raises(ShapeError) as caught:
            f({"x": normal(2, 9)})
        message = str(caught.value)
        assert "axis 1 of 'tree['x']' makes 's' 9, over its maximum of 8" in message
        assert "raise the bound in constraints=('s <= 9', ...)" in message
        assert "the largest of buckets={'s': ...}" in message
        assert f.bucket_for({"x": normal(2, 8)})["s"] == 8


def test_under_the_minimum():
    raises(
        ShapeError,
        lambda x: x,
        normal(3),
        shapes=("s",),
        constraints=("s >= 5",),
        match=r"axis 0 of 'x' makes 's' 3, under its minimum of 5.*'s >= 3'",
    )


def test_two_arguments_disagree():
    raises(
        ShapeError,
        lambda x, y: x,
        normal(3),
        normal(4),
        shapes=("s", "s"),
        match=r"axis 0 of 'y' has size 4, but its spec 's' makes it 3 \(s = 3 from axis 0 of 'x'\)",
    )


def unsupported(x):
    doubled = x * 2
    return jax.pure_callback(np.cumsum, jax.ShapeDtypeStruct(x.shape, x.dtype), doubled)


LINE = f"{__file__}:{inspect.getsourcelines(unsupported)[1] + 2} (unsupported)"


def test_unsupported_primitive_raises_if_asked_to():
    f = sod2jax.optimize(unsupported, shapes=("s",), on_unsupported="error")
    for _ in range(2):
        with pytest.raises(UnsupportedPrimitiveError) as caught:
            f(normal(3))
        assert caught.value.primitive == "pure_callback"
        assert caught.value.source == LINE
        assert caught.value.remedy in str(caught.value)
    with pytest.raises(UnsupportedPrimitiveError):
        f.compile(normal(3))


def test_unsupported_primitive_runs_exactly_with_one_warning():
    f = sod2jax.optimize(unsupported, shapes=("s",), constraints=("s <= 8",))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for size in (3, 4, 3):
            x = normal(size)
            np.testing.assert_allclose(f(x), np.cumsum(2 * x), rtol=1e-5)
    (warning,) = [w for w in caught if w.category is ExactFallbackWarning]
    message = str(warning.message)
    assert message.startswith(
        "unsupported runs through exact-shape executables, one compile per shape: "
        f"primitive 'pure_callback' at {LINE} cannot run on padded arrays: "
    )
    assert not message.endswith(": ")
    assert warning.filename == __file__
    stats = f.stats()
    assert (stats.calls, stats.exact_fallbacks, stats.compiles) == (3, 3, 0)
    assert f.bucket_for(normal(5)) is None
    assert f.buckets == ()
    assert f.compile(normal(5)) is f
    with pytest.raises(TraceError, match="unsupported runs with exact shapes: primitive 'pure_cal"):
        f.trace(normal(5))


def by_length(x):
    return jnp.stack([x[k] * k for k in range(x.shape[0])])


def test_what_cannot_be_traced_runs_exactly_with_one_warning():
    f = sod2jax.optimize(by_length, shapes=("s",))
    line = re.escape(f"{__file__}:{inspect.getsourcelines(by_length)[1] + 1} (by_length)")
    with pytest.warns(ExactFallbackWarning, match=f"TypeError at {line}") as caught:
        np.testing.assert_allclose(f(normal(3)), by_length(normal(3)))
        np.testing.assert_allclose(f(normal(4)), by_length(normal(4)))
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert f.stats().exact_fallbacks == 2
    raises(
        TraceError,
        by_length,
        normal(3),
        shapes=("s",),
        on_unsupported="error",
        match="give the axis a fixed size where the function needs a number",
    )


def test_an_error_of_the_function_itself_is_raised_as_it_is():
    f = sod2jax.optimize(lambda x: x + np.zeros(3, np.float32), shapes=("s",))
    with pytest.warns(ExactFallbackWarning):
        assert f(normal(3)).shape == (3,)
    with pytest.raises(TypeError, match="add got incompatible shapes"):
        f(normal(4))


@pytest.mark.parametrize("where", ["buckets", "constraints"])
def test_unknown_symbol(where):
    options = {"buckets": {"q": (8,)}} if where == "buckets" else {"constraints": ("q <= 8",)}
    match = {
        "buckets": r"buckets names 'q', but the symbols of the specs are \['s'\]",
        "constraints": "constraint 'q <= 8' names 'q', which is in no spec",
    }
    raises(SpecError, lambda x: x, normal(3), shapes=("s",), **options, match=match[where])


def test_buckets_outside_the_range():
    raises(
        SpecError,
        lambda x: x,
        normal(3),
        shapes=("s",),
        constraints=("s <= 8",),
        buckets={"s": (4, 16)},
        match=r"buckets\['s'\] = \(4, 16\) leaves the range 1 <= s <= 8",
    )


def test_empty_arrays_run_exactly():
    f = optimized(lambda x, y: (x * 2, y.sum(0)), shapes=("s, 3", "s, _"), buckets={"s": (8,)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        double, total = f(normal(0, 3), normal(0, 2))
    assert double.shape == (0, 3)
    assert total.tolist() == [0, 0]
    assert f.stats().exact_fallbacks == 1
    assert f.bucket_for(normal(0, 3), normal(0, 2)) is None
    assert f(normal(2, 3), normal(2, 2))[0].shape == (2, 3)
    assert f.stats().exact_fallbacks == 1


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"shapes": "b, s"}, "shapes must be a sequence with one spec per argument"),
        ({"shapes": 3}, "shapes must be a sequence with one spec per argument"),
        ({"constraints": "s <= 8"}, "constraints must be a sequence of strings"),
        ({"constraints": ("s < 8",)}, "must be one comparison by <=, >= or =="),
        ({"constraints": ("s <= 8.5",)}, "'8.5' is not a dimension expression"),
        ({"max_executables": 2.5}, "max_executables must be at least 1; got 2.5"),
        ({"buckets": (8, 16)}, "buckets must be a dictionary from symbols to sizes"),
        ({"buckets": {"s": ()}}, r"buckets\['s'\] must be positive integers"),
        ({"buckets": {"s": (0, 8)}}, r"buckets\['s'\] must be positive integers"),
        ({"buckets": {"s": (8.0,)}}, r"buckets\['s'\] must be positive integers"),
        ({"max_executables": 0}, "max_executables must be at least 1; got 0"),
        ({"on_unsupported": "ignore"}, "on_unsupported must be one of"),
    ],
)
def test_malformed_options(options, match):
    with pytest.raises(SpecError, match=match):
        sod2jax.optimize(lambda x: x, **options)


def test_calls_that_do_not_fit_are_refused_as_python_and_jax_do():
    f = optimized(lambda x, y: x, shapes=("s", "s"), buckets={"s": (8,)})
    with pytest.raises(TypeError, match="missing a required argument: 'y'"):
        f(normal(3))
    with pytest.raises(TypeError, match="not a valid JAX type"):
        f(normal(3), "text")


def test_errors_have_one_base():
    for error in (SpecError, ShapeError, TraceError, UnsupportedPrimitiveError):
        assert issubclass(error, sod2jax.errors.Sod2jaxError)
    assert issubclass(ShapeError, ValueError)
