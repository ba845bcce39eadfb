"""Functions that ask Python's own ``type`` for ``int`` are told that sizes are such."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax


def whole(n):
    if type(n) is not int:
        raise ValueError("not an int")
    return n


def asking(x):
    return jnp.pad(x, (0, whole(x.shape[0]))) * whole(2)


def classes(x):
    """What else ``type`` is."""

    class Meta(type):
        pass

    class Made(metaclass=Meta):
        pass

    assert type(Made) is Meta
    assert isinstance(Made, type)
    assert issubclass(Meta, type)
    assert not isinstance(3, type)
    assert type("Other", (Made,), {})().__class__.__name__ == "Other"
    assert type[int] == __builtins__["type"][int]
    return asking(x)


def helped(x):
    return jax.vmap(lambda row: row * whole(x.shape[1]))(x)


def compared(fun, *shapes):
    optimized = sod2jax.optimize(fun, on_unsupported="error")
    for shape in shapes:
        x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        np.testing.assert_array_equal(optimized.run((x,), {}, True), jax.jit(fun)(x))
    assert "trust: proved" in optimized.explain()
    return optimized.stats()


def test_sizes_are_ints():
    assert compared(asking, (5,), (1,), (7,), (16,)).traces == 2
    compared(helped, (2, 3), (5, 3), (4, 7))


def test_type_stays_what_it_is_besides():
    compared(classes, (5,), (1,), (7,))
    assert "type" not in globals()


def test_another_error_stays():
    def fails(x):
        raise ValueError(f"no more than that: {type(x) is int}")

    optimized = sod2jax.optimize(fails, shapes=("n",))
    with pytest.raises(ValueError, match="no more than that"):
        optimized(np.ones(3, np.float32))
    assert optimized.stats().traces <= 3
