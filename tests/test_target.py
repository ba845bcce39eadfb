"""What is compiled for: read from a device, printed, and asked for in one place only."""

from __future__ import annotations

import types
from pathlib import Path

import jax
import numpy as np
import pytest

import sod2jax
from sod2jax.errors import TargetError
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.region import Region
from sod2jax.target import Target, topology

PACKAGE = Path(sod2jax.__file__).parent


def device(platform: str, kind: str, stats: object = None) -> object:
    def memory_stats() -> object:
        if isinstance(stats, Exception):
            raise stats
        return stats

    return types.SimpleNamespace(platform=platform, device_kind=kind, memory_stats=memory_stats)


def test_only_the_target_asks_for_devices() -> None:
    words = ("default_backend", "jax.devices", "jax.local_devices", "get_backend")
    asking = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if any(word in path.read_text() for word in words)
    }
    assert asking - {"bench/worker.py"} == {"target.py", "_compat/devices.py"}


@pytest.mark.parametrize(
    ("target", "mixes"),
    [
        (Target("cpu", "cpu"), False),
        (Target("gpu", "NVIDIA H100 80GB HBM3"), False),
        (Target("gpu", "AMD Instinct MI300X"), True),
        (Target("tpu", "TPU v5 lite"), True),
    ],
)
def test_strided_windows_are_on_their_own_where_that_is_known(target: Target, mixes: bool) -> None:
    assert target.mixes_strided_windows == mixes
    assert target.fuses_gathers == (target.platform != "tpu")


def test_default_is_the_device_at_hand() -> None:
    target = Target.default()
    assert target.platform == jax.local_devices()[0].platform
    assert target == Target.of(jax.local_devices()[0])


@pytest.mark.parametrize(
    ("platform", "name", "alignment"),
    [("cpu", "cpu", 64), ("cuda", "gpu", 256), ("rocm", "gpu", 256), ("tpu", "tpu", 256)],
)
def test_a_device_is_read(platform: str, name: str, alignment: int) -> None:
    target = Target.of(device(platform, "kind", {"bytes_limit": 80, "bytes_in_use": 3}))
    assert (target.platform, target.kind, target.memory) == (name, "kind", 80)
    assert target.alignment == alignment


@pytest.mark.parametrize("stats", [None, {}, jax.errors.JaxRuntimeError("unimplemented")])
def test_memory_is_unknown_where_a_device_does_not_say(stats: object) -> None:
    assert Target.of(device("cpu", "cpu", stats)).memory is None


def test_sizes_where_work_is_estimated() -> None:
    limits = [Comparison.parse(c) for c in ("a <= 10", "c >= 1000")]
    sizes = Target("cpu", usual_size=100).usual_sizes(Region.of(["a", "b", "c"], limits))
    assert sizes == {"a": 10, "b": 100, "c": 1000}


def test_repr() -> None:
    assert repr(Target("cpu", "cpu")) == "Target('cpu')"
    assert repr(Target("gpu", "NVIDIA H100", 1 << 30)) == (
        "Target('gpu', 'NVIDIA H100', memory=1,073,741,824 B)"
    )


def test_a_function_starts_no_backend_before_its_first_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []
    default = Target.default
    monkeypatch.setattr(Target, "default", lambda: calls.append(1) or default())
    f = sod2jax.optimize(lambda x: x + 1, shapes=("n",), buckets={"n": (8,)})
    assert not calls
    for n in (3, 5):
        np.testing.assert_array_equal(f(np.ones(n)), np.full(n, 2.0))
    f.memory_plan(8)
    assert calls == [1]


def test_the_target_reaches_the_executable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Target, "default", lambda: Target("gpu"))
    f = sod2jax.optimize(lambda x: x + 1, shapes=("n",), buckets={"n": (8,)})
    f(np.ones(3))
    assert f.analyse(np.ones(3)).target == f.memory_plan(8).target == Target("gpu")


def test_topologies_have_names() -> None:
    with pytest.raises(sod2jax.errors.SpecError, match="no topology 'h1000'; there are h100, h200"):
        topology("h1000")


@pytest.mark.parametrize(("name", "extra"), [("h100", "cuda-aot"), ("tpu-v5e", "tpu-aot")])
def test_a_missing_compiler_is_named(
    name: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(TargetError, match=rf"pip install 'sod2jax\[{extra}\]'"):
        topology.__wrapped__(name)


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (NotImplementedError("none"), "set JAX_PLATFORMS=cpu before jax is imported"),
        (RuntimeError("locked"), r"locked.*ALLOW_MULTIPLE_LIBTPU_LOAD=1"),
    ],
)
def test_a_compiler_that_does_not_start_has_a_remedy(
    error: Exception, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> object:
        raise error

    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr("jax.experimental.topologies.get_topology_desc", fail)
    with pytest.raises(TargetError, match=remedy):
        topology.__wrapped__("h100")


def test_the_device_at_hand_may_be_the_target() -> None:
    f = sod2jax.optimize(lambda x: x + 1, shapes=("n",), buckets={"n": (8,)})
    f.compile(np.ones(3, np.float32), target=jax.local_devices()[0])
    np.testing.assert_array_equal(f(np.ones(3, np.float32)), np.full(3, 2.0))


def test_a_target_may_be_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sod2jax.planning.ahead.topology", lambda name: jax.local_devices()[0])
    x = np.ones(3, np.float32)
    f = sod2jax.optimize(lambda x: x + 1, shapes=("n",), buckets={"n": (8,)})
    assert f.compile(x, target="h100").stats().compiles == 1
    with pytest.raises(TypeError, match="target"):
        f.compile(x, target="no such")
    g = sod2jax.optimize(
        lambda x, **rest: x + len(rest), shapes={"x": "n"}, static_argnames="target"
    )
    g.compile(x, target="h100")  # its own
    np.testing.assert_array_equal(g(x, target="h100"), x + 1)


def test_a_parameter_may_be_called_target() -> None:
    f = sod2jax.optimize(
        lambda x, target: x - target, shapes={"x": "n", "target": "n"}, buckets={"n": (8,)}
    )
    x = np.ones(3, np.float32)
    f.compile(x, target=x)
    np.testing.assert_array_equal(f(x, target=x), np.zeros(3))
    assert f.stats().compiles == 1
