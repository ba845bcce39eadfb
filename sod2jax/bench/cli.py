"""The command line: reads options, refuses wrong ones in one line, runs, prints, saves."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from sod2jax.bench.methods import METHODS, PADDED_BY_HAND, REFERENCE
from sod2jax.bench.settings import Case, Settings
from sod2jax.bench.suite import SUITES, SuiteFile, find_suites
from sod2jax.bench.worker import load_suite_file

PROGRAM = "python -m sod2jax.bench"
BUILTIN = "encoder"
ALL = "all"
TOLERANCE = 1e-4
REQUESTS, QUICK_REQUESTS = 60, 12
# Of each suite, where all of them run.
ALL_REQUESTS, ALL_QUICK_REQUESTS = 20, 4
PASSES, QUICK_PASSES = 3, 2


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, without the usage text before it."""
        self.exit(2, f"{PROGRAM}: error: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the bench.

    Returns:
      0, or 1 when a method failed or its results differ from `jit-exact`'s by more than 1e-4.

    Raises:
      SystemExit: with status 2, for wrong arguments.
    """
    parser = _make_parser()
    settings = _settings(parser, parser.parse_args(argv))
    _require_extra(parser, settings)
    # Imported only now: these need the extra `bench`.
    from sod2jax.bench import runner, table

    try:
        results = runner.run(settings)
    except KeyboardInterrupt:
        return 130
    table.show(results, settings)
    if settings.json:
        report = {"environment": results.environment, "rows": results.rows}
        settings.json.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
    if settings.plot and results.rows:
        from sod2jax.bench import plot

        plot.save(results.rows, settings.plot)
    wrong = [row for row in results.rows if (row["max_error"] or 0.0) > TOLERANCE]
    for row in wrong:
        print(
            f"{PROGRAM}: {row['model']}: {row['method']} at batch {row['batch']} differs from "
            f"{REFERENCE} by {row['max_error']:.1e}, more than {TOLERANCE:.0e}",
            file=sys.stderr,
        )
    return 1 if results.failures or wrong else 0


def _make_parser() -> _Parser:
    parser = _Parser(
        prog=PROGRAM,
        description="One stream of variable-length requests through a model, run several ways. "
        "Suites are read from bench/suites of the current folder; without one, a small built-in "
        "encoder is used.",
    )
    add = parser.add_argument
    add(
        "--model",
        help=f"a suite of bench/suites, {BUILTIN} (built in), or {ALL}: one table over all suites "
        f"of bench/suites, by default with {ALL_REQUESTS} requests each ({ALL_QUICK_REQUESTS} "
        "with --quick) at batch 1",
    )
    add("--size", help="configuration of the model, as its suite defines them")
    add("--batch", nargs="+", metavar="N", help="rows per request; several allowed (default: 1 4)")
    add("--requests", type=_positive, metavar="N", help=f"requests (default: {REQUESTS})")
    add("--passes", type=_positive, metavar="N", help=f"warm passes (default: {PASSES})")
    add("--seed", type=_natural, default=0, help="of weights and requests (default: 0)")
    add("--methods", nargs="+", metavar="NAME", help=f"some of: {', '.join(METHODS)}")
    add("--weights", type=Path, metavar="PATH", help="checkpoint instead of random weights")
    add("--quick", action="store_true", help="smallest size and few requests")
    add("--json", type=Path, metavar="FILE", help="write the results as JSON")
    add("--plot", type=Path, metavar="FILE.png", help="draw latency and cumulative time")
    return parser


def _settings(parser: _Parser, args: argparse.Namespace) -> Settings:
    # The built-in suite has no file and comes last.
    suites: dict[str, Path | None] = {**find_suites(), BUILTIN: None}
    everything = args.model == ALL
    cases = _every_case(parser, args, suites) if everything else (_case(parser, args, suites),)
    if args.plot and args.plot.suffix != ".png":
        parser.error(f"--plot: {args.plot} does not end in .png")
    _require_writable(parser, "--json", args.json)
    _require_writable(parser, "--plot", args.plot)
    few, many = (ALL_QUICK_REQUESTS, ALL_REQUESTS) if everything else (QUICK_REQUESTS, REQUESTS)
    return Settings(
        cases=cases,
        batches=_batches(parser, args.batch or (["1"] if everything else ["1", "4"])),
        requests=args.requests or (few if args.quick else many),
        passes=args.passes or (QUICK_PASSES if args.quick else PASSES),
        seed=args.seed,
        weights=args.weights,
        json=args.json,
        plot=args.plot,
    )


def _case(parser: _Parser, args: argparse.Namespace, suites: Mapping[str, Path | None]) -> Case:
    model = args.model or ("codebert" if "codebert" in suites else next(iter(suites)))
    _require_one_of(parser, "model", model, [*suites, ALL])
    suite = _load(parser, suites[model])
    size = args.size or (suite.quick_size if args.quick else suite.default_size)
    _require_one_of(parser, "size", size, suite.sizes)
    if args.weights and not suite.takes_weights:
        parser.error(f"--weights: the model {model!r} has no weights to load")
    if args.weights and not args.weights.exists():
        parser.error(f"--weights: no such path: {args.weights}")
    methods = _methods(parser, args.methods)
    able = _able(suite, methods)
    if args.methods and able != methods:
        unable = ", ".join(name for name in methods if name not in able)
        parser.error(f"{unable}: {model} cannot be padded by hand without being rewritten")
    return Case(suites[model], suite.about, model, size, able)


def _every_case(
    parser: _Parser, args: argparse.Namespace, suites: Mapping[str, Path | None]
) -> tuple[Case, ...]:
    """Every suite of the current folder that has one of the methods asked for."""
    for option in ("size", "weights", "plot"):
        if getattr(args, option):
            parser.error(f"--{option}: means one model, not --model {ALL}")
    methods = _methods(parser, args.methods)
    cases = []
    for model, path in suites.items():
        if path is None:
            continue
        suite = _load(parser, path)
        size = suite.quick_size if args.quick else suite.default_size
        if able := _able(suite, methods):
            cases.append(Case(path, suite.about, model, size, able))
    if not cases:
        parser.error(f"--model {ALL}: no suite in {SUITES} that {', '.join(methods)} can run")
    return tuple(cases)


def _able(suite: SuiteFile, methods: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the methods that the suite can run by."""
    return tuple(name for name in methods if suite.pads_by_hand or name not in PADDED_BY_HAND)


def _load(parser: _Parser, path: Path | None) -> SuiteFile:
    try:
        return load_suite_file(None if path is None else str(path))
    except (ImportError, AttributeError, SyntaxError) as e:
        parser.error(f"cannot load the suite {path}: {e}")


def _methods(parser: _Parser, words: Sequence[str] | None) -> tuple[str, ...]:
    """The methods named, or all, in the order of the table: the reference must run first."""
    names = list(METHODS) if words is None else _split(words)
    if not names:
        parser.error("argument --methods: expected at least one")
    for name in names:
        _require_one_of(parser, "method", name, METHODS)
    return tuple(name for name in METHODS if name in names)


def _batches(parser: _Parser, words: Sequence[str]) -> tuple[int, ...]:
    if not _split(words):
        parser.error("argument --batch: expected at least one")
    try:
        return tuple(dict.fromkeys(_positive(word) for word in _split(words)))
    except argparse.ArgumentTypeError as e:
        parser.error(f"argument --batch: {e}")


def _split(words: Sequence[str]) -> list[str]:
    """Words given one by one, or joined by commas."""
    return [part for word in words for part in word.split(",") if part]


def _positive(text: str) -> int:
    return _at_least(text, 1, "is not a positive number")


def _natural(text: str) -> int:
    return _at_least(text, 0, "is not a number from 0")


def _at_least(text: str, least: int, complaint: str) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} {complaint}")
    return int(text)


def _require_one_of(parser: _Parser, what: str, name: str, choices: Collection[str]) -> None:
    if name not in choices:
        parser.error(f"unknown {what} {name!r}; known: {', '.join(choices)}")


def _require_writable(parser: _Parser, option: str, path: Path | None) -> None:
    if path is None:
        return
    folder = path.resolve().parent
    if not folder.is_dir():
        parser.error(f"{option}: no folder {folder}")
    if path.is_dir() or not os.access(path if path.exists() else folder, os.W_OK):
        parser.error(f"{option}: cannot write {path}")


def _require_extra(parser: _Parser, settings: Settings) -> None:
    needed = ["rich", "psutil", *(["matplotlib"] if settings.plot else [])]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        parser.error(f"needs {', '.join(missing)}: pip install 'sod2jax[bench]'")
