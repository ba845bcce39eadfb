"""Calls with arrays on several devices, each compared with ``jax.jit``; prints one word at the end.

Run by ``test_placement`` in a process of its own, since JAX counts its devices once.
"""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

import sod2jax
from sod2jax.errors import ExactFallbackWarning, PlacementError

DEVICES = jax.devices()
MESH = Mesh(np.array(DEVICES).reshape(4, 2), ("a", "b"))
EXPLICIT = jax.make_mesh((4, 2), ("a", "b"), axis_types=(jax.sharding.AxisType.Explicit,) * 2)
ROWS, WHOLE = NamedSharding(MESH, P("a")), NamedSharding(MESH, P())
ON_3 = jax.device_put(np.arange(3, dtype=np.float32), DEVICES[3])
ON_MESH = jax.device_put(np.arange(24, dtype=np.float32).reshape(8, 3), ROWS)


def scaled(x: jax.Array) -> Any:
    return jnp.sin(x) * x.sum(), {"rows": x.shape[0] * x.mean(0)}


def closed_over_3(x: jax.Array) -> jax.Array:
    return x * ON_3


def closed_over_mesh(x: jax.Array) -> jax.Array:
    return x @ ON_MESH.T


def constrained(x: jax.Array) -> jax.Array:
    return jax.lax.with_sharding_constraint(x * 2, WHOLE)


def moved(x: jax.Array) -> jax.Array:
    return jax.device_put(x * 2, DEVICES[1])


def array(n: int) -> np.ndarray:
    return np.linspace(0, 1, 3 * n, dtype=np.float32).reshape(n, 3)


def alone(device: Any, kind: Any = jax.sharding.AxisType.Auto) -> Mesh:
    return Mesh(np.array([device]), ("a",), axis_types=(kind,))


def host(kind: str) -> SingleDeviceSharding:
    return SingleDeviceSharding(DEVICES[0], memory_kind=kind)


def same(got: Any, wanted: Any) -> bool:
    def equal(a: Any, b: Any) -> bool:
        placed = a.sharding == b.sharding and a.committed == b.committed
        return placed and a.dtype == b.dtype and np.allclose(a, b, rtol=1e-5)

    return jax.tree.all(jax.tree.map(equal, got, wanted))


def calls(f: Any, wanted: Any, *arguments: Any) -> int:
    """Compares some calls; returns how many warnings there were."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for x in arguments:
            assert same(f(x), wanted(x)), (f, x.shape)
    assert all(w.category is ExactFallbackWarning for w in caught)
    return len(caught)


def compared(fun: Any, place: Any, sizes: Any, around: Any, shapes: Any, exact: int) -> None:
    """Each call equals jit's, values and places; exact ones are counted, and told once."""
    arguments = [array(n) if place is None else jax.device_put(array(n), place) for n in sizes]
    f = sod2jax.optimize(fun, shapes=shapes)
    with around():
        told = calls(f, jax.jit(fun), *arguments)
    assert f.stats().exact_fallbacks == exact * len(sizes), (fun, place)
    assert told == exact, (fun, place)
    assert ("runs with exact shapes:" in f.explain()) == bool(exact)


def main() -> None:
    plain, on_2 = contextlib.nullcontext, lambda: jax.default_device(DEVICES[2])
    for shapes in (("n, _",), None):
        for place, sizes, exact in (
            (None, (5, 1, 8), 0),
            (DEVICES[3], (5, 1), 1),
            (ROWS, (4, 8), 1),
            (WHOLE, (5, 1), 1),
            (NamedSharding(EXPLICIT, P("a")), (4, 8), 1),
            (host("pinned_host"), (5, 1), 1),
        ):
            compared(scaled, place, sizes, plain, shapes, exact)
        compared(scaled, None, (5, 1), on_2, shapes, 0)
        compared(scaled, None, (5,), lambda: jax.set_mesh(MESH), shapes, 1)
        for kind in jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit:
            here, there = (alone(DEVICES[k], kind) for k in (0, 3))
            compared(scaled, None, (5, 1), lambda here=here: jax.set_mesh(here), shapes, 0)
            compared(scaled, None, (5, 1), lambda there=there: jax.set_mesh(there), shapes, 1)
        for fun in (closed_over_3, closed_over_mesh, constrained, moved):
            compared(fun, None, (5, 1), plain, shapes, 1)

    # One function, called with arrays in many places, in turns.
    f, jitted, x = sod2jax.optimize(scaled, shapes=("n, _",)), jax.jit(scaled), array(5)
    for _ in range(2):
        here, there = jax.device_put(x), jax.device_put(x, DEVICES[3])
        told = calls(f, jitted, here, there, x, jax.device_put(x, WHOLE))
        with on_2():
            told += calls(f, jitted, here, there, x)
        for mesh in MESH, alone(DEVICES[0]), alone(DEVICES[1]):
            with jax.set_mesh(mesh):
                told += calls(f, jitted, x)
        assert told == (0 if _ else 4)  # the first reason again, for another default device
    assert f.stats().compiles == 3

    # What is committed to the default device has buckets; and the user may want no exact runs.
    f = sod2jax.optimize(scaled, shapes=("n, _",), on_unsupported="error")
    f(jax.device_put(x, DEVICES[0]))
    assert f.bucket_for(jax.ShapeDtypeStruct((5, 3), np.float32)) is not None
    elsewhere = jax.ShapeDtypeStruct((5, 3), np.float32, sharding=ROWS)
    for argument in (there, elsewhere):
        try:
            f.bucket_for(argument)
        except PlacementError as error:
            assert "'x' of scaled lies on" in str(error)
            assert "jax.device_put" in str(error)
        else:
            raise AssertionError("no error")
    print("right")


if __name__ == "__main__":
    main()
