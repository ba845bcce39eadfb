"""Calls with arrays elsewhere, and divided among devices, each compared with ``jax.jit``.

Run by ``test_placement`` in a process of its own, since JAX counts its devices once. Prints one
word at the end.
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
from sod2jax import transfer
from sod2jax.errors import ExactFallbackWarning

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


def typed(x: jax.Array) -> Any:
    """Types say where the results lie; sums, masks, loops and random numbers are among them."""
    noise = jax.random.normal(jax.random.key(0), x.shape)
    total, rows = jax.lax.scan(lambda c, r: (c + r, 2 * r), jnp.zeros(3), jnp.ones((4, 3)))
    loss = jax.grad(lambda x: (jnp.tanh(x) ** 2).mean())(x)
    return {
        "sums": (x.sum(), x.mean(0), jax.nn.softmax(x)),
        "moved": (x.T, jnp.where(x > 0.5, x, 0), x @ jnp.ones((3, 2))),
        "loops": (total, rows),
        "rest": (loss, x + noise, jnp.zeros(3)),
    }


def resharded(x: jax.Array) -> Any:
    whole = jax.sharding.reshard(2 * x, P())
    return whole, whole[:3], jnp.einsum("nd,md->nm", x, x, out_sharding=P("a", None))


def mapped(x: jax.Array) -> Any:
    """A body for each device, whose rows are padded and whose columns are divided."""

    def body(x: jax.Array) -> Any:
        total = jax.lax.psum(jnp.tanh(x).sum(0, keepdims=True) + x, "b")
        gathered = jax.lax.all_gather(x, "b", axis=1, tiled=True)
        moved = jax.lax.ppermute(x, "b", [(0, 1), (1, 0)])
        return total, jax.nn.softmax(x, 0), jnp.cumsum(x[::-1], 0), moved, gathered.sum(1)

    rows, whole = P(None, "b"), P()
    mapping = jax.shard_map(
        body,
        mesh=MESH,
        in_specs=rows,
        out_specs=(whole, rows, rows, rows, whole),
        check_vma=False,
    )
    squashed = jax.shard_map(jnp.tanh, mesh=MESH, in_specs=rows, out_specs=rows)
    x = jnp.concatenate([x, x[:, :1]], 1)
    return mapping(x), jax.grad(lambda x: (squashed(x) ** 2).mean())(x)


def mapped_rows(x: jax.Array) -> jax.Array:
    return jax.shard_map(lambda x: x * 2, mesh=MESH, in_specs=P("a"), out_specs=P("a"))(x)


def looks(x: jax.Array) -> jax.Array:
    return x * (2 if jax.typeof(x).sharding.spec[0] else 3)


def constrained_rows(x: jax.Array) -> Any:
    y = jax.lax.with_sharding_constraint(x * 2, ROWS)
    return y, y.sum(), jax.lax.with_sharding_constraint(y.reshape(-1), ROWS).max()


def computes_sizes(x: jax.Array) -> jax.Array:
    return sod2jax.numpy.flatnonzero(x[:, 0] > 0.3)


def moved(x: jax.Array) -> jax.Array:
    return jax.device_put(x * 2, DEVICES[1])


def array(n: int) -> np.ndarray:
    return np.linspace(0, 1, 3 * n, dtype=np.float32).reshape(n, 3)


def alone(device: Any, kind: Any = jax.sharding.AxisType.Auto) -> Mesh:
    return Mesh(np.array([device]), ("a",), axis_types=(kind,))


def host(kind: str) -> SingleDeviceSharding:
    return SingleDeviceSharding(DEVICES[0], memory_kind=kind)


def same(got: Any, wanted: Any, placed: bool = True) -> bool:
    def equal(a: Any, b: Any) -> bool:
        as_placed = a.sharding.is_equivalent_to(b.sharding, a.ndim)
        as_placed &= a.committed == b.committed and type(a.sharding) is type(b.sharding)
        return (as_placed or not placed) and a.dtype == b.dtype and np.allclose(a, b, rtol=1e-5)

    return jax.tree.all(jax.tree.map(equal, got, wanted))


def calls(f: Any, wanted: Any, *arguments: Any, placed: bool = True) -> int:
    """Compares some calls; returns how many warnings there were."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for x in arguments:
            assert same(f(x), wanted(x), placed), (f, x.shape)
    assert all(w.category is ExactFallbackWarning for w in caught)
    return len(caught)


def compared(
    fun: Any, place: Any, sizes: Any, around: Any, shapes: Any, exact: int, placed: bool = True
) -> None:
    """Each call equals jit's, values and places; exact ones are counted, and told once.

    What a function closes over keeps its place here, and is copied to each device by jit: then
    results need not be ``placed`` alike.
    """
    arguments = [array(n) if place is None else jax.device_put(array(n), place) for n in sizes]
    f = sod2jax.optimize(fun, shapes=shapes)
    with around():
        told = calls(f, jax.jit(fun), *arguments, placed=placed)
    assert f.stats().exact_fallbacks == exact * len(sizes), (fun, place)
    assert told == exact, (fun, place)
    assert ("runs with exact shapes:" in f.explain()) == bool(exact)


def main() -> None:
    plain, on_2 = contextlib.nullcontext, lambda: jax.default_device(DEVICES[2])
    for shapes in (("n, _",), None):
        for place, sizes, exact in (
            (None, (5, 1, 8), 0),
            (DEVICES[0], (5, 1, 8), 0),
            (DEVICES[3], (5, 1), 0),
            (ROWS, (4, 8, 12, 20), 0),
            (NamedSharding(MESH, P(("a", "b"), None)), (8, 24), 0),
            (NamedSharding(MESH, P(None, None)), (5, 1), 0),
            (WHOLE, (5, 1, 17), 0),
            (NamedSharding(alone(DEVICES[0]), P("a")), (5, 1), 0),
            (NamedSharding(alone(DEVICES[3], jax.sharding.AxisType.Explicit), P()), (5, 1), 0),
            (NamedSharding(EXPLICIT, P()), (5, 1), 0),
            (host("pinned_host"), (5, 1), 1),
        ):
            compared(scaled, place, sizes, plain, shapes, exact)
        compared(scaled, None, (5, 1), on_2, shapes, 0)
        for place in None, ROWS, WHOLE:
            compared(scaled, place, (4, 12), lambda: jax.set_mesh(MESH), shapes, 0)
            compared(typed, place, (4, 12), lambda: jax.set_mesh(MESH), shapes, 0)
        for kind in jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit:
            for k in 0, 3:
                one = alone(DEVICES[k], kind)
                compared(scaled, None, (5, 1), lambda one=one: jax.set_mesh(one), shapes, 0)
        compared(scaled, None, (5, 1), lambda: jax.set_mesh(EXPLICIT), shapes, 0)
        for around in plain, lambda: jax.set_mesh(EXPLICIT):
            for place in NamedSharding(EXPLICIT, P("a")), NamedSharding(EXPLICIT, P(("a", "b"))):
                compared(typed, place, (8, 24), around, shapes, 0)
        compared(resharded, NamedSharding(EXPLICIT, P("a")), (4, 12), around, shapes, 0)
        compared(looks, NamedSharding(EXPLICIT, P("a")), (4, 12), around, shapes, 0)
        compared(looks, NamedSharding(EXPLICIT, P()), (5, 1), around, shapes, 0)
        for fun in (closed_over_3, closed_over_mesh, constrained, moved):
            compared(fun, None, (5, 1), plain, shapes, 0)
            compared(fun, WHOLE, (5, 1), plain, shapes, 0, placed=fun is not closed_over_mesh)
        for place in None, WHOLE:
            compared(mapped, place, (5, 1, 16), plain, shapes, 0)
        compared(mapped, None, (5, 1), lambda: jax.set_mesh(MESH), shapes, 0)
        compared(constrained_rows, ROWS, (4, 12), plain, shapes, 0)
        compared(constrained_rows, None, (4, 12, 5, 1), plain, shapes, 0)
        f = sod2jax.optimize(computes_sizes, shapes=shapes)
        assert (
            calls(f, computes_sizes, *(jax.device_put(array(n), DEVICES[3]) for n in (5, 1))) == 0
        )
        assert f.stats().exact_fallbacks == 0

    # One function, called with arrays in many places, in turns: each has executables of its own.
    f, jitted, x = sod2jax.optimize(scaled, shapes=("n, _",)), jax.jit(scaled), array(5)
    for _ in range(2):
        here, there = jax.device_put(x), jax.device_put(x, DEVICES[3])
        told = calls(f, jitted, here, there, x, jax.device_put(x, WHOLE))
        with on_2():
            told += calls(f, jitted, here, there, x)
        for mesh in MESH, alone(DEVICES[0]), alone(DEVICES[1]):
            with jax.set_mesh(mesh):
                told += calls(f, jitted, x)
        assert told == 0
        assert f.stats().compiles == 8
    assert f.stats().exact_fallbacks == 0

    ahead()
    transfers()
    keywords()
    refused()
    print("right")


def ahead() -> None:
    """What is compiled ahead of time for shardings serves arrays that lie so."""
    for place in ROWS, NamedSharding(EXPLICIT, P("a")), None:
        f = sod2jax.optimize(lambda x: x * 2, shapes=("n, _",), constraints=("n <= 24",))
        around = jax.set_mesh(MESH) if place is None else contextlib.nullcontext()
        with around:
            f.compile(jax.ShapeDtypeStruct((8, 3), np.float32, sharding=place))
            compiles = f.stats().compiles
            for n in 4, 12, 24:
                x = array(n) if place is None else jax.device_put(array(n), place)
                assert same(f(x), jax.jit(lambda x: x * 2)(x))
        assert (f.stats().compiles, f.stats().traces) == (compiles, 1)


def transfers() -> None:
    """Padding and trimming give what NumPy gives, and each device its part of it and no more."""
    specs = P("a"), P("b", "a"), P(None, ("a", "b")), P(), P(("b", "a"))
    x = np.arange(8 * 16, dtype=np.float32).reshape(8, 16)
    keys = jax.random.split(jax.random.key(0), 8)
    for spec in specs:
        place = NamedSharding(MESH, spec)
        here = jax.device_put(x, place)
        for shape in (8, 24), (16, 16), (40, 48):
            for poison in False, True:
                wide = transfer.pad(here, shape, poison)
                wanted = transfer.pad(x, shape, poison)
                np.testing.assert_array_equal(wide, wanted)
                assert wide.sharding == place
                assert wide.committed
                assert all(
                    s.data.shape == place.shard_shape(shape) for s in wide.addressable_shards
                )
                back = transfer.trim(wide, (8, 16))
                np.testing.assert_array_equal(back, x)
                assert back.sharding == place
                for small in (3, 16), (8, 5), (1, 1), (0, 16):
                    cut = transfer.trim(wide, small)
                    np.testing.assert_array_equal(cut, x[: small[0], : small[1]])
                    assert cut.sharding.device_set == place.device_set
                moved = transfer.trim(wide, (8, 8), ROWS)
                np.testing.assert_array_equal(moved, x[:, :8])
                assert moved.sharding == ROWS
    for spec in P("a"), P(), P(("a", "b")):
        placed = jax.device_put(keys, NamedSharding(MESH, spec))
        wide = transfer.pad(placed, (16,), False)
        np.testing.assert_array_equal(jax.random.key_data(wide)[:8], jax.random.key_data(keys))
        back = transfer.trim(wide, (8,))
        assert back.dtype == keys.dtype
        np.testing.assert_array_equal(jax.random.key_data(back), jax.random.key_data(keys))


def keywords() -> None:
    """``in_shardings``, ``out_shardings``: as under jit, and so are what they refuse."""

    def pair(x: jax.Array) -> Any:
        return x * 2, {"sum": x.sum(0)}

    for given, sizes in (
        ({"in_shardings": ROWS}, (4, 12)),
        ({"in_shardings": (ROWS,)}, (4, 12)),
        ({"in_shardings": (None,), "out_shardings": WHOLE}, (5, 1)),
        ({"in_shardings": WHOLE, "out_shardings": (ROWS, None)}, (4, 12)),
        ({"out_shardings": (ROWS, {"sum": WHOLE})}, (4, 12)),
        ({"in_shardings": NamedSharding(EXPLICIT, P("a"))}, (4, 12)),
        ({"out_shardings": SingleDeviceSharding(DEVICES[5])}, (5, 1)),
        ({"out_shardings": SingleDeviceSharding(DEVICES[0])}, (5, 1)),
    ):
        f = sod2jax.optimize(pair, shapes=("n, _",), **given)
        wanted = jax.jit(pair, **given)
        assert calls(f, wanted, *map(array, sizes)) == 0, given
        assert (f.stats().exact_fallbacks, f.stats().compiles) == (0, 1), given
        rows = "ROWS" if ROWS in jax.tree.leaves(tuple(given.values())) else ""
        for wrong in (array(5),) if rows else ():
            assert type(raised(f, wrong)) is type(raised(wanted, wrong)), given
    f = sod2jax.optimize(pair, shapes=("n, _",), in_shardings=ROWS)
    for wrong in jax.device_put(array(8), DEVICES[2]), jax.device_put(array(8), WHOLE):
        assert type(raised(f, wrong)) is type(raised(jax.jit(pair, in_shardings=ROWS), wrong))
    with jax.set_mesh(MESH):
        f = sod2jax.optimize(pair, shapes=("n, _",), in_shardings=P("a"), out_shardings=P())
        wanted = jax.jit(pair, in_shardings=P("a"), out_shardings=P())
        assert calls(f, wanted, *map(array, (4, 12))) == 0
        assert f.stats().compiles == 1
    warnings.simplefilter("ignore", DeprecationWarning)
    for given in {"device": DEVICES[3]}, {"device": DEVICES[0]}, {"backend": "cpu"}:
        f, wanted = sod2jax.optimize(pair, shapes=("n, _",), **given), jax.jit(pair, **given)
        assert calls(f, wanted, array(5), jax.device_put(array(3), DEVICES[1])) == 0
        assert (f.stats().exact_fallbacks, f.stats().compiles) == (0, 1), given


def refused() -> None:
    """What jit refuses raises its error; and the user may want no exact runs."""

    def both(x: jax.Array, y: jax.Array) -> jax.Array:
        return x + y

    pair = jax.device_put(array(5), DEVICES[1]), jax.device_put(array(5), DEVICES[2])
    f = sod2jax.optimize(mapped_rows, shapes=("n, _",))
    assert calls(f, jax.jit(mapped_rows), array(4), array(8)) == 1
    assert f.stats().exact_fallbacks == 2
    f = sod2jax.optimize(both, shapes=("n, _", "n, _"))
    assert type(raised(f, *pair)) is type(raised(jax.jit(both), *pair)) is ValueError
    f = sod2jax.optimize(scaled, shapes=("n, _",), on_unsupported="error")
    f(jax.device_put(array(5), DEVICES[0]))
    elsewhere = jax.ShapeDtypeStruct((8, 3), np.float32, sharding=ROWS)
    for argument in jax.device_put(array(5), DEVICES[3]), elsewhere:
        assert f.bucket_for(argument) is not None
    assert "lies on" in str(raised(f, jax.device_put(array(5), host("pinned_host"))))
    f = sod2jax.optimize(
        lambda x, y: (x.sum(), y * 2), shapes=("m, _", "m + n, _"), on_unsupported="error"
    )
    y = jax.device_put(array(8), ROWS)
    assert "more than a symbol" in str(raised(f, array(3), y))


def raised(f: Any, *arguments: Any) -> Exception:
    try:
        f(*arguments)
    except Exception as error:
        return error
    raise AssertionError("no error")


if __name__ == "__main__":
    main()
