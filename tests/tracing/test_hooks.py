"""What is replaced while traces run is placed all or none, and gone afterwards."""

from __future__ import annotations

import builtins
import contextlib
import importlib.util
import math
import operator
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import sod2jax
from sod2jax import _compat
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.region import Region
from sod2jax.tracing import guards, hooks

REGION = Region.of(["n"], [Comparison.parse("n <= 9")])
PATCHES = guards._patches()
FUNCTIONS = [getattr(p.owner, p.name) for p in PATCHES if p.owner is not _compat.Dimension]
PLAIN = types.SimpleNamespace(len=len, sqrt=math.sqrt)  # names of a module would be hooked
X = np.arange(5, dtype=np.float32)


def state() -> dict[Any, Any]:
    """Every place that a trace may patch, and all of the class of dimensions."""
    functions = set(map(id, FUNCTIONS))
    places: dict[Any, Any] = {
        (key, name): value
        for key, module in list(sys.modules.items())
        if isinstance(module, types.ModuleType)
        for name, value in list(vars(module).items())
        if id(value) in functions
    }
    return places | {("dimension", name): v for name, v in vars(_compat.Dimension).items()}


def replacements() -> list[tuple[str, str]]:
    """Where any module has a function that stands in for another."""
    return [
        (key, name)
        for key, module in list(sys.modules.items())
        if isinstance(module, types.ModuleType)
        for name, value in list(vars(module).items())
        if type(value) is types.FunctionType
        and value.__code__.co_filename == hooks.__file__
        and value.__code__.co_name == "replacement"
    ]


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    """Each test leaves the process as it was: the same object in every place."""
    before = state()
    assert not replacements()
    yield
    after = state()
    assert not replacements()
    assert before.keys() <= after.keys()
    assert all(after[place] is value for place, value in before.items())
    assert {place for place in after if place[0] == "dimension"} <= before.keys()
    assert hooks._traces == 0
    assert hooks.active() is None


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module that has ``len`` and ``math.sqrt`` under its own names."""
    there: Any = types.ModuleType("has_length")
    there.length, there.root = len, math.sqrt
    monkeypatch.setitem(sys.modules, "has_length", there)
    return there


def recording() -> contextlib.AbstractContextManager[guards.Recorder]:
    return guards.recording(REGION)


def traced(fun: Callable[..., Any]) -> Any:
    return sod2jax.optimize(fun, shapes=("n",), constraints=("n <= 9",)).analyse(X)


class Broken(Exception):
    pass


def test_every_place_is_patched_while_a_trace_runs() -> None:
    before = state()
    owners = {key: sys.modules[key] for key, _ in before if key != "dimension"}
    with recording():
        inside = {
            (key, name): vars(owners.get(key, _compat.Dimension))[name] for key, name in before
        }
    methods = {patch.name for patch in PATCHES if patch.owner is _compat.Dimension}
    for (key, name), value in before.items():
        hooked = name in methods if key == "dimension" else not key.startswith("numpy.")
        assert (inside[key, name] is not value) == hooked, (key, name)


@pytest.mark.parametrize("every", [11, pytest.param(1, marks=pytest.mark.slow)])
def test_an_error_at_any_step_of_placing_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    before, steps = state(), 0

    def counted(fail_at: int | None) -> Callable[[Any, str, Any], None]:
        nonlocal steps
        steps = 0

        def set_or_fail(owner: Any, name: str, value: Any) -> None:
            nonlocal steps
            steps += 1
            if steps == fail_at:
                raise Broken
            setattr(owner, name, value)

        return set_or_fail

    monkeypatch.setattr(hooks, "setattr", counted(None), raising=False)
    hooks._enter(PATCHES)
    total = steps
    hooks._leave()
    assert total > len(PATCHES)
    for step in (*range(1, total, every), total):
        monkeypatch.setattr(hooks, "setattr", counted(step))
        with pytest.raises(Broken), recording():
            raise AssertionError("the block runs")
        after = state()
        assert after.keys() == before.keys(), step
        assert all(after[place] is value for place, value in before.items()), step
        assert hooks._traces == 0
    monkeypatch.undo()
    assert len(traced(lambda x: x * math.sqrt(len(x))).program.jaxpr.eqns) > 1


@pytest.mark.parametrize("at", [0, len(PATCHES) // 2, len(PATCHES)])
def test_a_replacement_that_cannot_be_made_leaves_nothing(at: int) -> None:
    def fail(original: Any) -> Any:
        raise Broken

    patches = (*PATCHES[:at], hooks.Patch(math, "floor", fail), *PATCHES[at:])
    with pytest.raises(Broken), hooks.placed(patches, object()):
        raise AssertionError("the block runs")


def test_an_owner_that_refuses_leaves_nothing() -> None:
    class Refusing(types.ModuleType):
        def __setattr__(self, name: str, value: Any) -> None:
            raise Broken

    owner = Refusing("refusing")
    vars(owner)["size"] = lambda: 3
    patch = hooks.Patch(owner, "size", hooks.while_tracing(lambda original: 4))
    with pytest.raises(Broken), hooks.placed((*PATCHES, patch), object()):
        raise AssertionError("the block runs")


def test_an_attribute_that_is_gone_after_the_search_is_left_out(module: Any) -> None:
    with recording():
        assert module.length is not PLAIN.len
    del module.length
    module.other = 3  # as many names as before, so nothing is searched again
    with recording():
        assert not hasattr(module, "length")
    assert not hasattr(module, "length")


def test_what_is_no_longer_the_original_is_left_alone(module: Any) -> None:
    with recording():
        pass
    module.length = mine = lambda x: 0
    with recording():
        assert module.length is mine
    assert module.length is mine


def test_what_somebody_else_places_meanwhile_stays(module: Any) -> None:
    with recording():
        below = module.length
        module.length = theirs = lambda x: below(x) + 1
    assert module.length is theirs
    assert module.length("four") == 5
    with recording():
        assert module.length("four") == 5
    assert module.length is theirs


def test_somebody_elses_wrapper_of_a_hooked_function_stays_and_is_hooked() -> None:
    try:
        with recording():
            below = math.sqrt
            math.sqrt = theirs = lambda x: below(x)
        program = traced(lambda x: x * math.sqrt(x.shape[0])).program
        assert program.varying is None
        assert math.sqrt is theirs
        assert math.sqrt(4.0) == 2.0
    finally:
        math.sqrt = PLAIN.sqrt


def test_a_module_that_is_imported_meanwhile_sees_the_hooks_and_keeps_none(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, module: Any
) -> None:
    (tmp_path / "imported_late.py").write_text(
        "from builtins import len as length\nfrom math import sqrt\nfrom numpy import arange\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def fun(x: Any) -> Any:
        import imported_late as late  # type: ignore[import-not-found]

        exec("from math import log as logarithm", vars(module))
        return x * late.sqrt(late.length(x)) + late.arange(late.length(x)) * module.logarithm(3)

    optimized = sod2jax.optimize(fun, shapes=("n",), buckets={"n": (8,)})
    want = X * np.sqrt(5) + np.arange(5) * np.log(3)
    np.testing.assert_allclose(optimized(X), want, rtol=1e-6)
    assert optimized.analyse(X).program.varying is None
    late = sys.modules.pop("imported_late")
    assert (late.length, late.sqrt, late.arange) == (PLAIN.len, PLAIN.sqrt, np.arange)
    assert module.logarithm is math.log


def test_lazy_modules_do_not_load(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "lazily.py").write_text("from math import sqrt\n")
    path = str(tmp_path / "lazily.py")
    loader: Any = importlib.util.LazyLoader.factory(importlib.machinery.SourceFileLoader)
    spec = importlib.util.spec_from_file_location("lazily", path, loader=loader("lazily", path))
    assert spec is not None and spec.loader is not None
    lazily = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "lazily", lazily)
    spec.loader.exec_module(lazily)

    asked: list[str] = []
    by_name: Any = types.ModuleType("by_name")
    by_name.__getattr__ = asked.append
    monkeypatch.setitem(sys.modules, "by_name", by_name)

    class NoModule:
        def __getattribute__(self, name: str) -> Any:
            asked.append(name)

    monkeypatch.setitem(sys.modules, "no_module", NoModule())  # type: ignore[arg-type]
    with recording():
        pass
    assert type(lazily) is not types.ModuleType
    assert not asked
    assert lazily.sqrt is math.sqrt


def elsewhere() -> list[Any]:
    """What another thread computes: the same whether or not a trace runs."""
    n, m = export.symbolic_shape("n, m")
    double = export.export(jax.jit(lambda x: x * x.shape[0]))(
        jax.ShapeDtypeStruct((n, 2), np.float32)
    )
    errors = []
    for refused in (len, operator.index, math.sqrt, np.sqrt, np.arange, lambda n: n**-1):
        with pytest.raises(Exception) as caught:
            refused(n)
        errors.append((type(caught.value), str(caught.value).partition("\n")[0]))
    return [
        *errors,
        (len("four"), operator.index(np.int8(3)), math.sqrt(4.0), np.arange(3).tolist()),
        (n == m, n != m, n == 1, n >= 1, n + m == m + n, hash(n + m) == hash(m + n)),
        (bool(n - n + 1), str((n * m + 3) % 4), str(jax.core.max_dim(n, m)), isinstance(n, int)),
        (hasattr(n, "sqrt"), {n: 1}[n], str(double.out_avals[0].shape)),
        float(double.call(jnp.ones((3, 2)))[0, 0]),
    ]


def test_another_thread_computes_as_ever_while_traces_run() -> None:
    want, tracing = elsewhere(), threading.Event()
    other: list[Any] = []
    worker = threading.Thread(target=lambda: tracing.wait(60) and other.append(elsewhere()))
    worker.start()

    def fun(x: Any) -> Any:
        tracing.set()
        worker.join()
        return x * math.sqrt(x.shape[0])

    traced(fun)
    assert other
    assert all(result == want for result in other)


def test_another_thread_computes_as_ever_while_hooks_come_and_go() -> None:
    want, done, rounds = elsewhere(), threading.Event(), []

    def work() -> None:
        while not done.is_set():
            rounds.append(elsewhere() == want)

    worker = threading.Thread(target=work)
    worker.start()
    while len(rounds) < 3 and worker.is_alive():
        with recording():
            traced(lambda x: x * math.sqrt(x.shape[0]) + np.arange(x.shape[0]))
    done.set()
    worker.join()
    assert len(rounds) >= 3
    assert all(rounds)


def test_nested_traces_have_their_own_recorder() -> None:
    inner = Region.of(["n"], [Comparison.parse("n <= 4")])
    (n,) = export.symbolic_shape("n")
    with recording() as first:
        assert guards.active() is first
        with guards.recording(inner) as second:
            assert guards.active() is second
            assert n < 5
        assert guards.active() is first
        with pytest.raises(Broken), guards.recording(inner):
            raise Broken
        assert guards.active() is first
        assert n < 10
    assert builtins.len is PLAIN.len


def test_traces_on_several_threads_share_the_hooks() -> None:
    """Each ends before the one that began after it; the hooks stay for the last."""
    recorders: list[Any] = []
    starts = [threading.Event() for _ in range(3)]
    ends = [threading.Event() for _ in range(3)]

    def work(k: int) -> None:
        with recording() as recorder:
            starts[k].set()
            ends[k].wait(60)
            recorders.append((recorder, guards.active()))

    workers = [threading.Thread(target=work, args=(k,)) for k in range(3)]
    try:
        for worker, start in zip(workers, starts, strict=True):
            worker.start()
            assert start.wait(60)
        shared = builtins.len
        for k, (worker, end) in enumerate(zip(workers, ends, strict=True)):
            assert builtins.len is shared is not PLAIN.len
            assert hooks._traces == 3 - k
            assert guards.active() is None
            end.set()
            worker.join()
    finally:
        for end in ends:
            end.set()
    assert builtins.len is PLAIN.len
    assert all(mine is there for mine, there in recorders)
    assert len({id(mine) for mine, _ in recorders}) == 3


def test_an_error_in_the_traced_function_leaves_nothing() -> None:
    def fun(x: Any) -> Any:
        raise Broken(str(len(x)))

    optimized = sod2jax.optimize(fun, shapes=("n",), on_unsupported="error")
    with pytest.raises(Broken):
        optimized(X)


def test_dimensions_run_jaxs_own_methods_after_traces() -> None:
    kept: list[Any] = []
    traced(lambda x: kept.append(x.shape[0]) or x * np.sqrt(x.shape[0]))
    dimension = _compat.Dimension
    for name in ("__hash__", "__eq__", "__ne__", "__mod__", "__rmul__", "max", "rmin"):
        assert vars(dimension)[name].__code__.co_filename.endswith("shape_poly.py"), name
    assert _compat.AT_LEAST[0]._geq_decision.__module__ == _compat.AT_LEAST[0].__name__
    assert dimension.__getattribute__ is object.__getattribute__
    assert "__bool__" not in vars(dimension)
    for n in (*kept, *export.symbolic_shape("n")):
        assert not hasattr(n, "sqrt")
        assert not isinstance(n, int)
        assert n == n and n != 1 and {n: 2}[n] == 2
        assert str(n % 4) == "mod(n, 4)"
        with pytest.raises(TypeError):
            np.sqrt(n)
