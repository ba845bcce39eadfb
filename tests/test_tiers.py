"""What `make test` leaves out of the harnesses shows nothing that the rest does not show."""

from __future__ import annotations

import pytest

from tests.harnesses import all_harnesses
from tests.harnesses.library_linear import BEFORE_012
from tests.tiers import REPORTED, kinds, primitives, repetitions, union

TABLE = all_harnesses()
# Chosen with a JAX that has all harnesses.
REPETITIONS = repetitions() - ({h.name for h in BEFORE_012} - TABLE.keys())
KEPT = [harness for name, harness in TABLE.items() if name not in REPETITIONS]
HINT = "run: python -m tests.tiers"


def test_repetitions_are_harnesses_that_nobody_reported():
    assert REPETITIONS
    assert TABLE.keys() > REPETITIONS, HINT
    assert not REPETITIONS & REPORTED
    assert not [name for name in REPETITIONS if TABLE[name].exact], HINT


def test_the_others_bind_every_primitive():
    missing = set(union(primitives(TABLE[name]) for name in REPETITIONS))
    for harness in reversed(KEPT):  # those of libraries bind the most
        if not missing:
            break
        missing -= primitives(harness)
    assert not missing, HINT


@pytest.mark.slow
def test_the_others_show_every_kind_of_equation():
    missing = union(frozenset(kinds(TABLE[name])) for name in REPETITIONS)
    missing -= union(frozenset(kinds(harness)) for harness in KEPT)
    assert not missing, HINT
