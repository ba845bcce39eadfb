"""Random programs of conds: what the passes make of them computes the same, and no more often."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend.core import jaxpr_as_fun

from sod2jax import passes, rdp
from sod2jax.ir.program import Program
from sod2jax.ir.region import Region
from sod2jax.passes.branches import select
from sod2jax.target import Target

SIZE = 5
UNARY = (jnp.sin, jnp.tanh, lambda x: x - x.max(), lambda x: x * 0.5, jnp.sort, jnp.cumsum)
BINARY = (jnp.add, jnp.subtract, jnp.multiply, jnp.minimum)


class Generator:
    """Writes a program that computes vectors from vectors, by chance."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)

    def choice(self, items: Any) -> Any:
        return items[int(self.rng.integers(len(items)))]

    def __call__(self, x: jax.Array, y: jax.Array, i: jax.Array) -> list[jax.Array]:
        values, tests = [x, y], [x.sum() > 0, y.max() > x.max(), x.sum() > 0]
        for _ in range(int(self.rng.integers(5, 12))):
            self.step(values, tests, i, depth=0)
        return [values[-1], self.choice(values), values[-2]]

    def step(
        self, values: list[jax.Array], tests: list[jax.Array], index: jax.Array, depth: int
    ) -> None:
        kind = self.rng.random()
        if kind < 0.25:
            values.append(self.choice(UNARY)(self.choice(values)))
        elif kind < 0.45:
            values.append(self.choice(BINARY)(self.choice(values), self.choice(values)))
        elif kind < 0.5:
            tests.append(self.choice([~self.choice(tests), self.choice(values).sum() > 0.3]))
        elif kind < 0.6:
            branches = [self.branch(values, tests, index, depth) for _ in range(3)]
            values += lax.switch(index, branches)
        elif kind < 0.65 and depth == 0:
            values.append(self.loop(values, tests, index))
        else:
            branches = [self.branch(values, tests, index, depth) for _ in range(2)]
            values += lax.cond(self.choice(tests), *branches)

    def branch(self, values: Any, tests: Any, index: jax.Array, depth: int) -> Callable[[], Any]:
        """A branch over what is there already, which gives two vectors."""

        def run() -> tuple[jax.Array, jax.Array]:
            mine, known = list(values), list(tests)
            for _ in range(int(self.rng.integers(0, 3 if depth < 2 else 1))):
                self.step(mine, known, index, depth + 1)
            return mine[-1], self.choice(mine)

        return run

    def loop(self, values: Any, tests: Any, index: jax.Array) -> jax.Array:
        def body(carry: jax.Array, row: jax.Array) -> tuple[jax.Array, None]:
            mine, known = [*values, carry], [*tests, row > 0]
            for _ in range(2):
                self.step(mine, known, index, depth=1)
            return jnp.tanh(mine[-1]), None

        return lax.scan(body, values[0], values[1])[0]


def transformed(fun: Callable[..., Any], *args: Any) -> tuple[Any, Any, Any]:
    """The jaxpr of a function before and after the passes, and what they did."""
    traced = jax.jit(fun).trace(*args)
    tree, region = jax.tree.structure(traced.out_info), Region(())
    names = tuple(map(str, range(len(traced.jaxpr.invars))))
    program = Program("random", traced.jaxpr, tuple(traced.jaxpr.consts), names, tree, region)
    facts = rdp.analyse(program.jaxpr, region)
    after, _, changes = passes.transform(program, facts, Target("cpu"))
    return program.jaxpr, after.jaxpr, changes


def gradient_of(fun: Callable[..., Any]) -> Callable[..., Any]:
    """The gradient of a program's results, which has conds of residuals."""

    def total(x: jax.Array, y: jax.Array, index: jax.Array) -> jax.Array:
        return sum(out.sum() * (k + 1) for k, out in enumerate(fun(x, y, index)))

    return jax.grad(total, (0, 1))


def top_level(jaxpr: Any) -> int:
    """How many conds run whatever the predicates say."""
    return sum(eqn.primitive.name == "cond" for eqn in jaxpr.eqns)


def keep_branches(eqn: Any, counter: Any, region: Any, target: Any) -> select.Judgement:
    del eqn, counter, region, target
    return select.Judgement(False, "kept for this test")


@pytest.mark.parametrize(
    "seed", [*range(12), *(pytest.param(s, marks=pytest.mark.slow) for s in range(12, 120))]
)
def test_the_passes_change_no_result(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if seed % 2:
        monkeypatch.setattr(select, "judge", keep_branches)
    rng = np.random.default_rng(seed)
    inputs = [rng.normal(size=SIZE).astype(np.float32) for _ in range(2)]
    fun = gradient_of(Generator(seed)) if seed % 4 > 1 else Generator(seed)
    before, after, changes = transformed(fun, *inputs, np.int32(0))
    if seed % 2:
        assert top_level(after) <= top_level(before)
    old, new = (jax.jit(jaxpr_as_fun(jaxpr)) for jaxpr in (before, after))
    for index in (-1, 0, 1, 2, 5):
        args = [rng.normal(size=SIZE).astype(np.float32) for _ in range(2)]
        pairs = zip(old(*args, np.int32(index)), new(*args, np.int32(index)), strict=True)
        for a, b in pairs:
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=str(changes))
