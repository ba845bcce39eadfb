"""Names and source lines of the user's reach what XLA compiles, as under ``jax.jit``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import sod2jax
from sod2jax.schedule import edges

WIDTH = 128
WEIGHT = np.linspace(-0.1, 0.1, WIDTH * WIDTH, dtype=np.float32).reshape(WIDTH, WIDTH)


def layers(w: jax.Array, x: jax.Array) -> jax.Array:
    with jax.named_scope("encoder"):
        y = jnp.tanh(x @ w)
        with jax.named_scope("norm"):
            y = jax.nn.relu(y - y.mean(0, keepdims=True))
    with jax.named_scope("head"):
        return (jax.nn.softmax(y, axis=0) * jnp.cumsum(y, 0)[::-1]).sum()


def steps(w: jax.Array, x: jax.Array) -> jax.Array:
    def cell(carry: jax.Array, row: jax.Array) -> tuple[jax.Array, jax.Array]:
        with jax.named_scope("cell"):
            carry = jnp.tanh(carry @ w + row)
        return carry, carry * 2

    with jax.named_scope("recurrence"):
        last, rows = lax.scan(cell, x[0], x)
    with jax.named_scope("until"):
        halved = lax.fori_loop(0, 3, lambda _, y: jnp.sin(y), last)
    return (halved[None] * rows).sum()


def rematerialised(w: jax.Array, x: jax.Array) -> jax.Array:
    @jax.checkpoint
    def block(w: jax.Array, x: jax.Array) -> jax.Array:
        with jax.named_scope("inner"):
            return jnp.sin(x @ w)

    with jax.named_scope("block"):
        return block(w, block(w, x)).sum()


def heavy(w: jax.Array, x: jax.Array) -> jax.Array:
    for _ in range(40):
        x = jnp.tanh(x @ w)
    return x


def merged(w: jax.Array, x: jax.Array) -> jax.Array:
    """Two conds of one predicate become one, and take what only they use along."""
    turned = x.sum() > 0
    with jax.named_scope("early"):
        y = heavy(w, x)
    with jax.named_scope("first"):
        x = lax.cond(turned, lambda: heavy(w, y), lambda: x * 2)
    with jax.named_scope("second"):
        return lax.cond(turned, lambda: heavy(w, x), lambda: x + 1).sum()


def selected(w: jax.Array, x: jax.Array) -> jax.Array:
    """A cond that becomes a select."""
    with jax.named_scope("choice"):
        first = x[0]
        y = lax.cond(x.sum() > 0, lambda: jnp.sin(first), lambda: first + 1)
    return (x @ w @ y).sum()


def gated(w: jax.Array, x: jax.Array) -> jax.Array:
    """Rows of which some need much."""

    def row(r: jax.Array) -> jax.Array:
        with jax.named_scope("gate"):
            return lax.cond(r[0] > 0, lambda r: heavy(w, r), lambda r: r, r)

    with jax.named_scope("rows"):
        return jax.vmap(row)(x).sum()


class Model(nn.Module):
    """Its layers are named by their attributes."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Dense(WIDTH, name="up")(x)
        return nn.LayerNorm(name="norm")(nn.Dense(WIDTH, name="down")(nn.gelu(x)))


def module(w: jax.Array, x: jax.Array) -> jax.Array:
    dense = {"kernel": w, "bias": w[0]}
    params = {"up": dense, "down": dense, "norm": {"scale": w[0], "bias": w[1]}}
    return Model().apply({"params": params}, x).sum()  # type: ignore[union-attr]


def formed(w: jax.Array, x: jax.Array) -> jax.Array:
    """In other forms: the position of an extreme, and a large masked reduction."""
    with jax.named_scope("position"):
        k = jnp.argmax(x, axis=0)
    with jax.named_scope("large"):
        y = jnp.sort(x, axis=1).max(0)
    return y.sum() + (w[k] * 2).sum()


REMARKS = {
    layers: (),
    steps: (),
    rematerialised: (),
    merged: ("merged a cond", "moved 80 equations into branch"),
    selected: ("made a cond a select",),
    gated: ("compacted a select",),
    module: (),
    formed: ("argmax by comparing", "masked at the edge"),
}
"""What becomes of each function, which the test asks for."""


def scopes(text: str) -> set[tuple[str, ...]]:
    """The scopes of all operations; the names of calls, conds and loops come and go."""
    names = re.findall(r'op_name="([^"]*)"', text)
    inner = {part.rpartition("/")[0] for name in names for part in name.split(";")}
    gone = re.compile(r"cond|branch_\d_fun|while|body|\w+\((\w+\(\))?\)|jit\(\w+\)")
    return {tuple(p for p in s.split("/") if p and not gone.fullmatch(p)) for s in inner}


@pytest.mark.parametrize("fun", REMARKS, ids=lambda fun: fun.__name__)
@pytest.mark.parametrize("transform", [lambda f: f, jax.grad], ids=["forward", "grad"])
def test_scopes_are_those_of_jit(
    transform: Callable[..., Any], fun: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    for name in ("WORTH", "_REUSED", "_LONG"):
        monkeypatch.setattr(edges, name, 0)  # small arrays, too
    x = np.linspace(-1, 1, 90 * WIDTH, dtype=np.float32).reshape(90, WIDTH)
    told = transform(fun)
    function = sod2jax.optimize(told, shapes=(None, f"n, {WIDTH}"), buckets={"n": (128,)})
    ours = scopes(function.lower(WEIGHT, x).compile().as_text())
    plain = scopes(jax.jit(told).lower(WEIGHT, x).compile().as_text())
    around = {scope[:k] for scope in plain for k in range(len(scope))}  # where masks may be
    assert plain <= ours <= plain | around
    if told is fun:
        remarks = function.explain()
        assert not [what for what in REMARKS[fun] if what not in remarks], remarks
    assert function.stats().exact_fallbacks == 0


def test_lines_are_the_user_s():
    function = sod2jax.optimize(layers, shapes=(None, f"n, {WIDTH}"), buckets={"n": (8,)})
    lowered = function.lower(WEIGHT, np.ones((5, WIDTH), np.float32))
    line = inspect.getsourcelines(layers)[1] + 2
    assert f'{Path(__file__).name}":{line}:' in lowered.as_text(debug_info=True)
    text = lowered.compile().as_text()
    assert __file__ in text and str(Path(sod2jax.__file__).parent) not in text


def test_a_profile_shows_scopes(tmp_path: Path):
    """The operations that a profiler saw are those of the function's scopes."""
    function = sod2jax.optimize(layers, shapes=(None, f"n, {WIDTH}"), buckets={"n": (8,)})
    x = np.ones((5, WIDTH), np.float32)
    jax.block_until_ready(function(WEIGHT, x))
    with jax.profiler.trace(str(tmp_path)):
        jax.block_until_ready(function(WEIGHT, x))
    (file,) = tmp_path.rglob("*.xplane.pb")
    events = [
        dict(event.stats)
        for plane in jax.profiler.ProfileData.from_file(str(file)).planes
        for line in plane.lines
        for event in line.events
    ]
    ran = {event["hlo_op"] for event in events if event.get("hlo_module") == "jit_layers"}
    text = function.lower(WEIGHT, x).compile().as_text()
    found = (re.search(rf'%{re.escape(op)} = .*op_name="(.*?)"', text) for op in ran)
    seen = [match[1] for match in found if match]
    assert any(name.startswith("jit(layers)/encoder/") for name in seen)
    assert any(name.startswith("jit(layers)/head/") for name in seen)
