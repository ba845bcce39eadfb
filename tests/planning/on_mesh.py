"""Training on eight devices at varying batch and length, compared with ``jax.jit``.

Run by ``test_placement`` in a process of its own, since JAX counts its devices once. Prints one
word at the end.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import sod2jax
from sod2jax._compat import listen_for_compiles
from tests.quick import QUICK

DEVICES = jax.devices()
WORDS, WIDTH, HIDDEN = 50, 16, 32
OPTIMIZER = optax.adamw(1e-3)
COLLECTIVES = ("all-gather", "all-reduce", "all-to-all", "collective-permute")


def parameters() -> Any:
    shapes = {
        "words": (WORDS, WIDTH),
        "q": (WIDTH, WIDTH),
        "k": (WIDTH, WIDTH),
        "v": (WIDTH, WIDTH),
        "up": (WIDTH, HIDDEN),
        "down": (HIDDEN, WIDTH),
    }
    rng = np.random.default_rng(0)
    return {n: (rng.normal(size=s) * 0.1).astype(np.float32) for n, s in shapes.items()}


def logits(params: Any, tokens: jax.Array) -> jax.Array:
    x, length = params["words"][tokens], tokens.shape[1]
    q, k, v = (x @ params[name] for name in "qkv")
    scores = jnp.einsum("bsd,btd->bst", q, k) / 4
    scores = jnp.where(jnp.tril(jnp.ones((length, length), bool)), scores, -jnp.inf)
    x = x + jax.nn.softmax(scores) @ v
    x = x + jax.nn.gelu(x @ params["up"]) @ params["down"]
    x = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return x @ params["words"].T


def step(params: Any, state: Any, tokens: jax.Array) -> Any:
    def loss(params: Any) -> jax.Array:
        predicted, wanted = logits(params, tokens)[:, :-1], tokens[:, 1:]
        return optax.softmax_cross_entropy_with_integer_labels(predicted, wanted).mean()

    value, gradient = jax.value_and_grad(loss)(params)
    updates, state = OPTIMIZER.update(gradient, state, params)
    return optax.apply_updates(params, updates), state, value


def trained(function: Any, mesh: Mesh, specs: Any, sizes: Sequence[tuple[int, int]]) -> Any:
    """The state after some steps, and the losses on the way."""
    places = {name: NamedSharding(mesh, specs.get(name, P())) for name in parameters()}
    params = jax.device_put(parameters(), places)
    state = jax.tree.map(
        lambda x: x if x.ndim else jax.device_put(x, NamedSharding(mesh, P())),
        OPTIMIZER.init(params),
    )
    losses = []
    for batch, length in sizes:
        drawn = np.random.default_rng(batch * length).integers(0, WORDS, (batch, length), np.int32)
        tokens = jax.device_put(drawn, NamedSharding(mesh, P("data")))
        params, state, value = function(params, state, tokens)
        losses.append(value)
    return (params, state, losses), (params, state, tokens)


def collectives(function: Any, arguments: Any) -> dict[str, int]:
    text = function.lower(*arguments).compile().as_text()
    return {name: len(re.findall(rf" {name}(?:-start)?\(", text)) for name in COLLECTIVES}


def compared(mesh: Mesh, specs: Any, sizes: Sequence[tuple[int, int]], **options: Any) -> None:
    """Trains by buckets as by jit: same numbers and places, no more collectives, few compiles."""
    options["compiler_options"] = QUICK
    f = sod2jax.optimize(
        step,
        shapes=(None, None, "b, s"),
        constraints=("2 <= s <= 24", "b <= 32"),
        buckets={"b": (16, 32), "s": (8, 24)},
        **options,
    )
    jitted = jax.jit(step, **options)
    got, arguments = trained(f, mesh, specs, sizes)
    assert f.stats().compiles <= 6, f.stats()
    assert f.stats().exact_fallbacks == 0
    compiled: list[str] = []
    listen_for_compiles(lambda stage, seconds: compiled.append(stage))
    again, _ = trained(f, mesh, specs, [(24, 10), (8, 23), (32, 19), (16, 3), (24, 8)])
    assert not compiled, compiled  # but for the sizes, everything is known
    del again
    wanted, _ = trained(jitted, mesh, specs, sizes)
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        assert x.sharding.is_equivalent_to(y.sharding, x.ndim)
        assert x.committed == y.committed
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)
    ours, theirs = collectives(f, arguments), collectives(jitted, arguments)
    assert all(ours[name] <= theirs[name] for name in COLLECTIVES), (ours, theirs)


def main() -> None:
    flat = Mesh(np.array(DEVICES), ("data",))
    sizes = [(8, 5), (24, 12), (16, 16), (32, 7), (8, 5)]
    compared(flat, {}, sizes, donate_argnums=(0, 1))
    columns, rows = P(None, "model"), P("model")
    parted = {"down": rows, **dict.fromkeys(("words", "q", "k", "v", "up"), columns)}
    square = Mesh(np.array(DEVICES).reshape(2, 4), ("data", "model"))
    compared(square, parted, [(2, 5), (26, 12), (16, 16), (32, 7)])
    print("right")


if __name__ == "__main__":
    main()
