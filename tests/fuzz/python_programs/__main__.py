"""Runs random Python programs: ``python -m tests.fuzz.python_programs --seeds 0:20000``."""

from __future__ import annotations

import argparse
import collections
import os
import re
import sys
import time
from collections.abc import Sequence

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax

from tests.fuzz.python_programs import interpret
from tests.fuzz.python_programs.generate import FEATURES, Program, generate
from tests.fuzz.python_programs.judge import Verdict, judge
from tests.fuzz.python_programs.shrink import shrunk

_FORGET = 400  # programs after which JAX's caches of traces are dropped


def _seeds(text: str) -> Sequence[int]:
    first, colon, last = text.partition(":")
    return range(int(first), int(last)) if colon else list(map(int, text.split(",")))


def _judged(program: Program, compiled: bool) -> Verdict:
    try:
        return judge(program, compiled)
    except interpret.InterpreterError as error:
        return Verdict("unjudged", str(error))


def _shortened(reason: str) -> str:
    """A reason without the sizes, names and lines of one program."""
    error = re.search(r"\. (\w+ at .*?\): .*?)\. What can help", reason)
    last = reason.partition("Generalising concrete traces failed: ")[2]
    text = " / ".join(filter(None, [error[1] if error else reason[:120], last]))
    text = re.sub(r"\S+:\d+( \([\w<>]+\))?|\d+|'[^']*'", "_", text)
    return re.sub(r"(_, )+_", "_", text)[:200]


def main() -> None:
    """Prints each failure with its source, and a table of verdicts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seeds", default="0:200", help="first:last, the last one not included; or a,b,c"
    )
    parser.add_argument("--without", default="", help=f"features to leave out: {sorted(FEATURES)}")
    parser.add_argument("--compiled", action="store_true", help="compile; do not interpret")
    parser.add_argument("--shrink", action="store_true", help="make failures small")
    parser.add_argument("--show", default="", help="also print programs of this verdict")
    parser.add_argument("--progress", type=int, default=500, help="programs between two tables")
    parser.add_argument("--reasons", type=int, default=12, help="how many kinds of reasons to show")
    options = parser.parse_args()
    seeds = _seeds(options.seeds)
    without = frozenset(filter(None, options.without.split(",")))
    if unknown := without - FEATURES:
        parser.error(f"no such features: {sorted(unknown)}")
    jax.config.update("jax_traceback_filtering", "off")
    counts: collections.Counter[str] = collections.Counter()
    reasons: collections.Counter[str] = collections.Counter()
    start = time.process_time()
    for done, seed in enumerate(seeds, 1):
        program = generate(seed, without)
        verdict = _judged(program, options.compiled)
        counts[verdict.kind] += 1
        if verdict.kind in ("exact", "checked"):
            reasons[f"{verdict.kind}: {_shortened(verdict.detail)}"] += 1
        if verdict.is_failure and options.shrink:
            program, verdict = shrunk(program, verdict, options.compiled)
        if verdict.is_failure or verdict.kind in ("unjudged", options.show):
            features = " ".join(sorted(program.features))
            print(f"--- {verdict.kind}: {features}\n{program}\n# {verdict.detail}\n", flush=True)
        if done % _FORGET == 0:
            jax.clear_caches()
        if done % options.progress == 0 or done == len(seeds):
            spent = time.process_time() - start
            shown = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
            print(f"=== {done} programs to seed {seed}: {shown}; {spent:.0f} s", flush=True)
    for reason, count in reasons.most_common(options.reasons):
        print(f"{count:6} {reason}")
    print("left to JAX:", dict(interpret.BOUND.most_common(12)))
    sys.exit(any(counts[kind] for kind in ("wrong", "silent", "crash")))


if __name__ == "__main__":
    main()
