"""Time against the share of gates that are on: ``python -m sod2jax.bench.gates``.

Every gated model of ``models/`` runs with forced gates, several ways, all in this process: what is
measured is how far the time follows the work that the gates leave.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import sod2jax
from sod2jax.bench import markdown
from sod2jax.bench.rows import CLOCKS, add_options, write
from sod2jax.bench.suite import load_package
from sod2jax.ir import dims
from sod2jax.memory import XlaMemory
from sod2jax.planning.choices import Choice

RATES = (0.0, 0.25, 0.5, 0.75, 1.0)
TOLERANCE = 1e-4  # relative to the largest magnitude of each result


@dataclasses.dataclass(frozen=True)
class Row:
    """One method on one model at one batch size.

    Attributes:
      model, batch, method: what was run.
      milliseconds: the median at each of the rates.
      temp_bytes: XLA's temporaries, beside arguments and results; None where it does not tell.
      error: largest difference from the dense mask, relative to the largest magnitude.
    """

    model: str
    batch: int
    method: str
    milliseconds: tuple[float, ...]
    temp_bytes: int | None
    error: float

    @property
    def ratios(self) -> tuple[float, ...]:
        """Each time over that with all gates on, the last."""
        return tuple(each / self.milliseconds[-1] for each in self.milliseconds)


@dataclasses.dataclass(frozen=True)
class _Method:
    name: str
    call: Callable[..., Any]
    temp_bytes: int | None


def patterns(rates: Sequence[float], batch: int, gates: int, seed: int) -> Iterator[np.ndarray]:
    """bool[batch, gates] for each rate, with as many gates on as the rate says, to one."""
    rng = np.random.default_rng(seed)
    for rate in rates:
        flat = np.arange(batch * gates) < round(rate * batch * gates)
        yield rng.permutation(flat).reshape(batch, gates)


def measure(
    name: str,
    size: str,
    batch: int,
    image: int,
    rates: Sequence[float],
    repeats: int,
    seed: int,
    clock: Callable[[], float],
) -> list[Row]:
    """Runs one model every way at one batch size; rates and methods take turns in each repeat.

    Args:
      name: a model of the ``models`` package, which is loaded.
      size: its configuration.
      batch: how many examples.
      image: height and width, in pixels.
      rates: shares of gates that are on; the last is what ratios refer to.
      repeats: runs of each.
      seed: of weights, inputs and gates.
      clock: gives seconds.
    """
    model = _load(name, size, "mask", seed)
    sizes = {**_sizes(model.shapes, image), "b": batch}
    inputs = model.inputs(np.random.default_rng(seed), **sizes)
    on = [model.from_pattern(p) for p in patterns(rates, batch, model.gates, seed)]
    methods = list(_methods(name, size, seed, sizes, inputs, on[0]))
    results = [_result(method.call, model.params, inputs, on) for method in methods]
    seconds: dict[str, list[list[float]]] = {m.name: [[] for _ in rates] for m in methods}
    for _ in range(repeats):
        for k, gates in enumerate(on):
            for method in methods:
                start = clock()
                jax.block_until_ready(method.call(model.params, *inputs, gates))
                seconds[method.name][k].append(clock() - start)
    return [
        Row(
            name,
            batch,
            method.name,
            tuple(1e3 * statistics.median(times) for times in seconds[method.name]),
            method.temp_bytes,
            error(result, results[0]),
        )
        for method, result in zip(methods, results, strict=True)
    ]


def _load(name: str, size: str, gating: str, seed: int) -> Any:
    models = importlib.import_module("models")
    module = importlib.import_module(f"models.{name}")
    takes_gating = "gating" in inspect.signature(module.build).parameters
    return models.load(name, size, seed=seed, **({"gating": gating} if takes_gating else {}))


def _sizes(shapes: Sequence[Any], image: int) -> dict[str, int]:
    """Symbols' sizes at which axes, such as ``8*h``, are ``image`` long."""
    parts = [part for spec in shapes if isinstance(spec, str) for part in spec.split(",")]
    axes = [dims.parse(p) for p in parts if p.strip() not in ("_", "...", "")]
    return {
        name: image // int(dims.evaluate(dim, {name: 1}))
        for dim in axes
        for name in dims.symbols_of(dim)
    }


def _methods(
    name: str, size: str, seed: int, sizes: dict[str, int], inputs: Sequence[Any], gates: Any
) -> Iterator[_Method]:
    """The dense mask first: all others are compared with it."""
    for method, gating in (("jit, dense mask", "mask"), ("jit, cond under vmap", "branch")):
        model = _load(name, size, gating, seed)
        compiled = jax.jit(model.gate_override).lower(model.params, *inputs, gates).compile()
        yield _Method(method, compiled, XlaMemory.of(compiled).temp_bytes)
    for method, gating in (("sod2jax, mask", "mask"), ("sod2jax, branches", "branch")):
        model = _load(name, size, gating, seed)
        optimized = sod2jax.optimize(
            model.gate_override,
            shapes=(*model.shapes[: 1 + len(inputs)], "b" + ", _" * (gates.ndim - 1)),
            constraints=model.constraints,
            buckets={symbol: (most,) for symbol, most in sizes.items()},
            on_unsupported="error",
        )
        call = optimized.planner.read((model.params, *inputs, gates), {})
        choice = optimized.planner.choose(call)
        assert isinstance(choice, Choice)  # on_unsupported raises
        executable = choice.specialisation.executables.get(choice.plan.bucket)
        yield _Method(method, optimized, XlaMemory.of(executable.call).temp_bytes)


def _result(
    call: Callable[..., Any], params: Any, inputs: Sequence[Any], on: Sequence[Any]
) -> list[np.ndarray]:
    """Everything that a method gives, at all rates."""
    outputs = [jax.tree.leaves(call(params, *inputs, gates)) for gates in on]
    return [np.asarray(leaf, np.float64) for leaves in outputs for leaf in leaves]


def error(got: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> float:
    """The largest difference of any array, relative to its largest magnitude."""
    pairs = zip(got, wanted, strict=True)
    errors = [np.abs(a - b).max() / max(np.abs(b).max(), 1e-30) for a, b in pairs]
    return float(max(errors))


def table(rows: Sequence[Row], rates: Sequence[float]) -> str:
    """Rows as a Markdown table: milliseconds, and in brackets their ratio to all gates on."""
    shares = [f"{rate:.0%} on" for rate in rates]
    head = ["model", "batch", "method", *shares, "temp MB", "error"]
    lines = [
        [
            row.model,
            str(row.batch),
            row.method,
            *(
                f"{ms:.1f} ({ratio:.2f})"
                for ms, ratio in zip(row.milliseconds, row.ratios, strict=True)
            ),
            "-" if row.temp_bytes is None else f"{row.temp_bytes / 1e6:.1f}",
            f"{row.error:.0e}",
        ]
        for row in rows
    ]
    return markdown.table(head, lines)


def gated_models() -> list[str]:
    """Names of the models whose gates can be forced."""
    models = importlib.import_module("models")
    return [name for name in models.NAMES if models.load(name).gate_override is not None]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sod2jax.bench.gates", description=__doc__)
    parser.add_argument("--model", default="all", help="names with commas between, or all")
    parser.add_argument("--size", default="cifar", help="configuration of every model")
    parser.add_argument("--batch", default="1,8", help="batch sizes")
    parser.add_argument("--image", type=int, default=32, help="height and width")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of the models")
    add_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the bench; 1 if a method's results differ from the dense mask's."""
    options = _parser().parse_args(argv)
    load_package(options.models)
    names = gated_models() if options.model == "all" else options.model.split(",")
    rows: list[Row] = []
    for name in names:
        for batch in map(int, options.batch.split(",")):
            rows += measure(
                name,
                options.size,
                batch,
                options.image,
                RATES,
                options.repeats,
                options.seed,
                CLOCKS[options.clock],
            )
    print(table(rows, RATES))
    write(rows, options.json)
    return int(any(not row.error <= TOLERANCE for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
