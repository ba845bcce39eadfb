"""Versions of a program: which are compiled, which one is kept, and what is remembered."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import sod2jax
from sod2jax.runtime import choices, versions
from sod2jax.runtime.versions import Figures
from sod2jax.schedule.versions import Version
from sod2jax.target import Target

CPU = Target("cpu", "cpu")
PLAIN = Figures("plain", 1.0, 100)


def wide(x: Any) -> Any:
    """What may all be alive at once, and need not."""
    return sum(jnp.sin(k * x @ x.T).sum(0) @ x for k in range(1, 9))


def candidates(fun: Any, *args: Any) -> tuple[Version, ...]:
    jaxpr = jax.make_jaxpr(fun)(*args)
    plain = Version("plain", jaxpr)
    lean = plain.asking("lean", {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"})
    return plain, lean, plain.asking("second", {})


def choose(tried: tuple[Version, ...], tune: str, *args: Any) -> tuple[versions.Chosen, list[Any]]:
    """The choice, and what was compiled for it."""
    compiled: list[Any] = []

    def lower(version: Version) -> Any:
        return jax.jit(jax.extend.core.jaxpr_as_fun(version.jaxpr)).lower(*args)

    def compile_it(lowered: Any, options: Any) -> Any:
        compiled.append(dict(options))
        return lowered.compile(compiler_options=dict(options) or None)

    build = versions.Build(lower, compile_it, CPU)
    return versions.chosen(tried, tune, build, lambda: args), compiled


@pytest.mark.parametrize(
    "other, better",
    [
        (Figures("", 0.9, 100), True),
        (Figures("", 0.9, 101), False),
        (Figures("", 0.99, 100), False),
        (Figures("", 1.0, 50), True),
        (Figures("", 1.1, 50), False),
        (Figures("", None, 50), False),
        (Figures("rows", 1.09, 50), True),
        (Figures("rows", 1.09, 51), False),
        (Figures("rows", 1.11, 50), False),
    ],
)
def test_what_is_better(other: Figures, better: bool) -> None:
    assert other.is_better_than(PLAIN) is better


def test_nothing_is_tried_when_tuning_is_off() -> None:
    x = np.ones((9, 3), np.float32)
    choice, compiled = choose(candidates(wide, x), "off", x)
    assert choice.version.name == "plain" and compiled == [{}] and not choice.figures


def test_small_programs_are_not_worth_it() -> None:
    x = np.ones((9, 3), np.float32)
    choice, compiled = choose(candidates(wide, x), "fast", x)
    assert compiled == [{}] and not choice.figures


def test_the_order_for_memory_is_tried_where_the_plan_needs_less() -> None:
    x = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    choice, _ = choose(candidates(wide, x), "fast", x)
    if jax.__version_info__ >= (0, 12) and not choice.figures:
        pytest.skip("XLA's own order takes no more than the plan here")
    assert [f.name for f in choice.figures] == ["plain", "plain, lean"]
    plain, lean = choice.figures
    assert lean.temporaries < 0.5 * plain.temporaries
    chosen = [f.name for f in choice.figures if f.verdict == "chosen"]
    assert chosen == [choice.version.name]
    np.testing.assert_allclose(choice.call(x)[0], wide(x), rtol=1e-4)


def test_full_compares_all_and_remembers() -> None:
    x = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    tried = candidates(wide, x)
    first, _ = choose(tried, "full", x)
    assert [f.name for f in first.figures] == ["plain", "plain, lean", "plain, second"]
    again, compiled = choose(tried, "full", x)
    assert len(compiled) == 1 and again.figures == first.figures
    assert again.version.name == first.version.name


def test_a_choice_that_is_no_more_offered_is_made_again() -> None:
    x = np.random.default_rng(1).normal(size=(40, 8)).astype(np.float32)
    tried = candidates(wide, x)
    choose(tried, "full", x)
    renamed = (tried[0], *(dataclasses.replace(v, name=f"new {v.name}") for v in tried[1:]))
    text = jax.jit(jax.extend.core.jaxpr_as_fun(tried[0].jaxpr)).lower(x).as_text()
    key = choices.key_of(text, CPU, "full")
    choices.store(key, {"figures": [dataclasses.asdict(Figures("gone", 1.0, 1, "chosen"))]})
    choice, _ = choose(renamed, "full", x)
    assert "new plain, lean" in [f.name for f in choice.figures]


@pytest.mark.parametrize(
    "row",
    [
        {"name": "plain", "seconds": "x", "temporaries": 1, "verdict": "chosen"},
        {"name": "plain", "seconds": 1.0, "temporaries": "abc", "verdict": "chosen"},
        {"name": ["plain"], "seconds": 1.0, "temporaries": 1, "verdict": "chosen"},
        {"name": "plain", "verdict": "chosen", "more": 1},
    ],
)
def test_figures_that_others_wrote_are_not_read(row: dict[str, Any]) -> None:
    choices.store("others", {"figures": [row]})
    assert versions._known("others", candidates(wide, np.ones((9, 3), np.float32))) == (None, ())


def test_programs_that_may_not_end_or_are_seen_are_not_run() -> None:
    def collatz(x: Any) -> Any:
        return lax.while_loop(lambda v: v[0] > 1, lambda v: v / 2, x)

    def printing(x: Any) -> Any:
        jax.debug.print("{}", x)
        return x

    x = np.ones(3, np.float32)
    for fun in (collatz, printing):
        choice, _ = choose(candidates(fun, x), "full", x)
        assert all(f.seconds is None for f in choice.figures)
        assert choice.version.name == "plain"
    counted = lambda x: lax.fori_loop(0, 5, lambda k, v: v + k, x)  # noqa: E731
    choice, _ = choose(candidates(counted, x), "full", x)
    assert all(f.seconds is not None for f in choice.figures)


def test_explain_gives_the_figures() -> None:
    f = sod2jax.optimize(wide, shapes=("n, 8",), buckets={"n": (300,)}, tune="fast", poison=True)
    x = np.random.default_rng(0).normal(size=(270, 8)).astype(np.float32)
    np.testing.assert_allclose(f(x), jax.jit(wide)(x), rtol=1e-4, atol=1e-3)
    report = f.explain()
    assert "version 'plain':" in report and "ordered for memory" in report and "chosen" in report


def test_a_loop_must_be_better_than_what_it_stands_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model's first choice is no reason to keep a slow one that takes less memory."""
    plain, *_ = candidates(wide, np.ones((600, 600), np.float32))
    rows = dataclasses.replace(plain, name="rows")
    monkeypatch.setattr(choices, "stored", lambda key: None)
    for seconds, best in (([2.0, 1.0], "plain"), ([0.9, 1.0], "rows")):
        monkeypatch.setattr(versions, "_seconds", lambda *_, s=seconds: s)
        chosen, _ = choose((rows, plain), "full", np.ones((600, 600), np.float32))
        assert chosen.version.name == best
