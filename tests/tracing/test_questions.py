"""Every answer that anybody gets about a size is proved, a guard, or JAX's own and harmless."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export, lax

import sod2jax
from sod2jax import _compat
from sod2jax._compat import askers
from sod2jax.ir import dims
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.region import Region
from sod2jax.tracing import guards, hooks, numeric

REGION = Region.of(["n", "m"], [Comparison.parse("n <= 9"), Comparison.parse("m <= 9")])
KEY = jax.random.key(0)
ELEMENTWISE = """abs acos asinh atan cbrt ceil cos cosh deg2rad exp exp2 expm1 fabs floor log1p
negative positive rad2deg reciprocal rint round sign sin sinc sinh sqrt square tan tanh trunc i0
nan_to_num isnan signbit""".split()
ALONG = """sum prod mean std var max min ptp argmax argmin any all cumsum cumprod sort argsort flip
nansum nanmean nanmax median count_nonzero trapezoid diff gradient fliplr flipud rot90
transpose ravel fft.fft fft.rfft fft.ihfft fft.fft2 fft.rfft2 fft.fftshift linalg.norm average
cov corrcoef vander tril triu trace diagonal unwrap nanstd cumulative_sum""".split()
SQUARE = """linalg.inv linalg.det linalg.slogdet linalg.cholesky linalg.eigh linalg.qr linalg.svd
linalg.pinv linalg.matrix_rank""".split()
LAYERS = """relu gelu silu softmax log_softmax softplus elu celu glu sigmoid hard_tanh logsumexp
standardize soft_sign squareplus mish""".split()
TWO = """add multiply subtract divide maximum minimum where power arctan2 hypot matmul dot outer
inner kron vdot tensordot cross searchsorted isin interp convolve correlate concatenate stack append
heaviside fmod copysign polyval""".split()


def _named(module: Any, name: str) -> Callable[..., Any]:
    for part in name.split("."):
        module = getattr(module, part)
    return module


def _as_it_is(x: Any) -> Any:
    return x


def _of(function: Callable[..., Any], operand: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda x, y: function(operand(x))


def _operations() -> Iterator[tuple[str, Callable[..., Any]]]:
    """(name, function of x: (n, m) and of y: (n, m)), about 150 of them."""
    for name in (*ELEMENTWISE, *ALONG):
        yield name, _of(_named(jnp, name), (lambda x: x[:, 0]) if name == "vander" else _as_it_is)
    for name in SQUARE:
        yield name, _of(_named(jnp, name), lambda x: x @ x.T + jnp.eye(x.shape[0]))
    for name in LAYERS:
        yield name, _of(_named(jax.nn, name), lambda x: jnp.concatenate([x, x], 1))
    vectors = ("searchsorted", "isin", "interp", "convolve", "correlate", "polyval", "outer")
    for name in TWO:
        yield name, lambda x, y, f=name: _of_two(f, x[:, 0] if f in vectors else x, y, vectors)
    yield "take", lambda x, y: jnp.take(x, jnp.array([0, 2]), axis=0)
    yield "take_along", lambda x, y: jnp.take_along_axis(x, jnp.argsort(y, 1), 1)
    yield "scatter", lambda x, y: x.at[jnp.array([0, 1])].add(2.0)
    yield "slice", lambda x, y: x[1:] - x[:-1]
    yield "row", lambda x, y: x[0] + y[-1]
    yield "pad", lambda x, y: jnp.pad(x, 1)
    yield "roll", lambda x, y: jnp.roll(x, 1, 0)
    yield "tile", lambda x, y: jnp.tile(x, (2, 1))
    yield "repeat", lambda x, y: jnp.repeat(x, 2, 0)
    yield "einsum", lambda x, y: jnp.einsum("ij,kj->ik", x, y)
    yield "scan", lambda x, y: lax.scan(lambda c, v: (c + v, c * v), y[0], x)
    yield "cond", lambda x, y: lax.cond(x.sum() > 0, lambda: x, lambda: y * 2)
    yield "while", lambda x, y: lax.fori_loop(0, 2, lambda k, v: v * x, y)
    yield "map", lambda x, y: lax.map(jnp.sum, x)
    yield "vmap", lambda x, y: jax.vmap(jnp.dot)(x, y)
    yield "checkpoint", lambda x, y: jax.checkpoint(jnp.sin)(x) * y
    yield "normal", lambda x, y: jax.random.normal(KEY, x.shape) * x
    yield "irfft", lambda x, y: lax.fft(x + 0j, lax.FftType.IRFFT, (2 * (x.shape[1] - 1),))
    yield "segment_sum", lambda x, y: jax.ops.segment_sum(x, jnp.zeros(x.shape[0], int), 3)
    yield (
        "attention",
        lambda x, y: jax.nn.dot_product_attention(*(v[None, :, None] for v in (x,) * 3)),
    )
    yield "resize", lambda x, y: jax.image.resize(x, (4, x.shape[1]), "linear")
    yield "windows", lambda x, y: lax.reduce_window(x, 0.0, lax.add, (2, 1), (1, 1), "SAME")
    yield "reshape", lambda x, y: x.reshape(-1)[:, None] * jnp.expand_dims(y, 0).reshape(1, -1)


def _of_two(name: str, x: Any, y: Any, vectors: tuple[str, ...]) -> Any:
    y = y[:, 0] if name in vectors else y
    if name in ("concatenate", "stack"):
        return getattr(jnp, name)([x, y])
    if name == "where":
        return jnp.where(x > y, x, y)
    if name in ("interp",):
        return jnp.interp(x, jnp.sort(y), y)
    if name in ("matmul", "dot", "tensordot", "inner"):
        return x @ y.T
    if name == "cross":
        return jnp.cross(x[:, :1] * jnp.ones(3), y[:, :1] * jnp.ones(3))
    return getattr(jnp, name)(x, y)


OPERATIONS = dict(_operations())


def _scalar(fun: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        leaves = [v for v in jax.tree.leaves(fun(*args)) if jnp.issubdtype(v.dtype, np.inexact)]
        return sum((jnp.sum(jnp.abs(v).astype(np.float32) ** 2) for v in leaves), jnp.float32(0))

    return call


def _vmapped(fun: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, y: jax.vmap(lambda c: jax.grad(_scalar(fun))(x * c, y))(jnp.arange(3.0))


TRANSFORMS: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
    "value": lambda f: f,
    "grad": lambda f: jax.grad(_scalar(f), argnums=(0, 1)),
    "jvp": lambda f: lambda x, y: jax.jvp(f, (x, y), (y, x)),
    "vmap": _vmapped,
    "second": lambda f: jax.grad(_scalar(jax.grad(_scalar(f)))),
}


def _scope(shape: Any) -> Any:
    return shape[0].scope


def unaccounted(fun: Callable[..., Any]) -> list[str]:
    """Answers "not equal" of a trace that are neither proved, nor guards, nor listed."""
    answers: list[tuple[Any, Any, str]] = []
    shape = export.symbolic_shape("n, m", constraints=["n <= 9", "m <= 9"])
    arg = jax.ShapeDtypeStruct(shape, np.float32)
    with guards.recording(REGION, _scope(shape)) as recorder:
        answer, truth = _compat.Dimension.__eq__, _compat.Dimension.__bool__

        def watched(a: Any, b: Any) -> Any:
            result = answer(a, b)
            asks = not recorder.busy and hooks.active() is recorder
            if asks and result is False and isinstance(b, int | _compat.Dimension):
                answers.append((a, b, _asker()))
            return result

        def watched_truth(a: Any) -> bool:
            if not recorder.busy and hooks.active() is recorder:
                answers.append((a, 0, _asker()))
            return truth(a)

        _compat.Dimension.__eq__, _compat.Dimension.__bool__ = watched, watched_truth
        try:
            jax.jit(lambda *args: numeric.delivered(fun(*args))).trace(arg, arg)
        except Exception:
            return []  # another way is found, or an error tells
        finally:
            _compat.Dimension.__eq__, _compat.Dimension.__bool__ = answer, truth
    return list(_missed(recorder, answers))


def _asker() -> str:
    """JAX's function that asks, if it is one of those listed; found without the engine's help."""
    frame: Any = sys._getframe(2)
    passed = ("shape_poly.py", *(inspect.getsourcefile(m) or "" for m in (hooks, guards)))
    while frame.f_code.co_filename.endswith(passed) or frame.f_code.co_filename == "<string>":
        frame = frame.f_back
    while frame is not None and frame.f_code.co_filename.startswith(_compat.JAX_DIRECTORY):
        file = Path(frame.f_code.co_filename).relative_to(Path(_compat.JAX_DIRECTORY) / "_src")
        name = frame.f_code.co_qualname.partition(".<locals>")[0]
        key = (file.as_posix(), name)
        if key in askers._RELAYS:
            frame = frame.f_back
            continue
        listed = key in askers.HARMLESS_EQUALITIES
        owner = (key[0], name.partition(".")[0] + ".")
        return "" if listed or owner in askers.HARMLESS_EQUALITIES else ":".join(key)
    return "user"


def _missed(recorder: guards.Recorder, answers: list[tuple[Any, Any, str]]) -> Iterator[str]:
    for a, b, asker in answers:
        if not asker or getattr(b, "scope", a.scope) is not a.scope:
            continue
        left, right = dims.folded(dims.from_jax(a)), dims.folded(dims.from_jax(b))
        guard = Comparison(left, "!=", right)
        if not (recorder.region.proves(guard) or guard in recorder.guards):
            yield f"{guard} by {asker}"


def _listed() -> list[tuple[str, str]]:
    tables = (
        askers.HARMLESS_EQUALITIES,
        askers.HARMLESS_NUMBERS,
        askers.HARMLESS_ORDERS,
        askers.HARMLESS_TEXTS,
    )
    return sorted({*askers._RELAYS, *(key for table in tables for key in table)})


@pytest.mark.parametrize(("file", "name"), _listed())
def test_what_is_listed_is_there(file, name):
    source = (Path(_compat.JAX_DIRECTORY) / "_src" / file).read_text()
    for part in name.rstrip(".").split("."):
        assert re.search(rf"^\s*(def|class) {part}\b", source, re.MULTILINE)


QUICK = ("fft.rfft", "linalg.det", "matmul", "scan", "row", "average", "reshape")


@pytest.mark.parametrize("name", QUICK)
def test_no_answer_is_taken_for_granted(name):
    for transform in ("value", "grad"):
        assert not unaccounted(TRANSFORMS[transform](OPERATIONS[name])), transform


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATIONS)
def test_no_answer_to_any_operation_is_taken_for_granted(name):
    for transform, of in TRANSFORMS.items():
        assert not unaccounted(of(OPERATIONS[name])), transform


def test_the_search_finds_what_is_not_listed(monkeypatch):
    monkeypatch.setattr(guards, "_never_differ", lambda recorder, a, b: False)
    assert unaccounted(TRANSFORMS["grad"](OPERATIONS["fft.rfft"]))


def test_most_operations_are_traced_without_a_guard():
    for name in ("add", "matmul", "softmax", "scan", "take", "concatenate", "cond", "sort"):
        for transform in ("value", "grad"):
            shape = export.symbolic_shape("n, m", constraints=["n <= 9", "m <= 9"])
            arg = jax.ShapeDtypeStruct(shape, np.float32)
            with guards.recording(REGION, _scope(shape)) as recorder:
                jax.jit(TRANSFORMS[transform](OPERATIONS[name])).trace(arg, arg)
            assert not recorder.guards and not recorder.doubts, (name, transform)


FOURIER: dict[str, Callable[[Any], Any]] = {
    "rfft": lambda x: jnp.abs(jnp.fft.rfft(x)).sum(),
    "rfft2": lambda x: jnp.abs(jnp.fft.rfft2(jnp.outer(x, x))).sum(),
    "irfft": lambda x: (jnp.fft.irfft(jnp.fft.rfft(x) ** 2) ** 2).sum(),
    "hfft": lambda x: (jnp.fft.hfft(x + 1j * x**2) ** 2).sum(),
    "ihfft": lambda x: (jnp.abs(jnp.fft.ihfft(x)) ** 2).sum(),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sod2jax.errors.ExactFallbackWarning")
@pytest.mark.parametrize("name", FOURIER)
def test_real_transforms_know_odd_from_even(name):
    value = FOURIER[name]
    for fun in (value, jax.grad(value), lambda x: jax.jvp(jax.grad(value), (x,), (x,))[1]):
        _compare(fun)


@pytest.mark.filterwarnings("ignore::sod2jax.errors.ExactFallbackWarning")
def test_the_gradient_of_a_real_transform_knows_odd_from_even():
    _compare(jax.grad(FOURIER["rfft"]))


def _compare(fun: Callable[..., Any]) -> None:
    with_specs = sod2jax.optimize(fun, shapes=("n",), constraints=("n <= 16",), poison=True)
    for function, sizes in ((with_specs, (2, 3, 4, 7, 16)), (sod2jax.optimize(fun), (4, 5, 8))):
        for size in sizes:
            x = np.random.default_rng(size).normal(size=size).astype(np.float32)
            got, want = function(x), jax.jit(fun)(x)
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4, err_msg=str(size))


SHAPES: dict[str, Callable[[Any, Any], Any]] = {
    "typeof": lambda x, y: x * 2 if jax.typeof(x) == jax.typeof(y) else x,
    "typeof_in": lambda x, y: x * 2 if jax.typeof(x) in [jax.typeof(y)] else x,
    "aval_unequal": lambda x, y: x if x.aval != y.aval else x * 2,
    "struct": lambda x, y: x * 2 if jax.eval_shape(jnp.sin, x) == jax.eval_shape(jnp.cos, y) else x,
    "equivalent": lambda x, y: x * jnp.array_equiv(x, jnp.stack([y, y])),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_that_are_compared_as_a_whole(name):
    fun = SHAPES[name]
    specs = {"shapes": ("n", "m"), "constraints": ("n <= 9", "m <= 9"), "max_executables": 2}
    both = sod2jax.optimize(fun, poison=True, **specs), sod2jax.optimize(fun)
    for n, m in ((3, 9), (3, 3), (1, 3), (3, 1)):
        x, y = np.arange(1.0, n + 1, dtype=np.float32), np.arange(1.0, m + 1, dtype=np.float32)
        for function in both:
            np.testing.assert_array_equal(function(x, y), jax.jit(fun)(x, y), err_msg=f"{n}, {m}")


def test_ragged_rows_whose_size_equals_another_are_right():
    fun = SHAPES["typeof"]
    rows = [np.arange(1.0, size + 1, dtype=np.float32) for size in (3, 5, 2, 3)]
    y = np.ones(3, np.float32)
    got = sod2jax.ragged_vmap(fun, in_axes=(0, None))(rows, y)
    for row, want in zip(got, [fun(jnp.asarray(r), jnp.asarray(y)) for r in rows], strict=True):
        np.testing.assert_array_equal(row, want)


@pytest.mark.parametrize("method", ["linear", "nearest"])
def test_an_image_that_keeps_its_size_keeps_its_infinities(method):
    def even(x):
        return jax.image.resize(x, (2 * (x.shape[0] // 2),), method)

    for options in ({}, {"shapes": ("n",), "constraints": ("n <= 12",)}):
        optimized = sod2jax.optimize(even, **options)
        for size in (7, 12, 8, 2):
            x = np.arange(size, dtype=np.float32)
            x[size // 2] = np.inf
            np.testing.assert_array_equal(optimized(x), jax.jit(even)(x))
        assert optimized.stats().exact_fallbacks == 0
