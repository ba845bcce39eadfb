"""A search ends with a program and the regime it serves, or with the reason why there is none."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sod2jax.arguments.signature import Leaf
from sod2jax.errors import TraceError, UnsupportedPrimitiveError
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.dims import parse
from sod2jax.options import Options
from sod2jax.planning.found import Failed, Match
from sod2jax.planning.requests import Request
from sod2jax.planning.search import MOST_REGIMES, Search
from sod2jax.stats import Counters
from sod2jax.tracing import regimes


class Case:
    """A search over one vector argument ``x`` of size n <= 64."""

    def __init__(self, fun):
        self.counters = Counters()
        self.search = Search("f", Options(), self.counters)
        self.request = Request(("tree",), fun, [np.zeros(3, np.float32)])

    def regime(self, size):
        aval = jax.core.ShapedArray((size,), np.dtype(np.float32))
        return regimes.base([Leaf("x", aval, (parse("n"),))], [Comparison.parse("n <= 64")])

    def symbolic(self, size):
        return self.search.symbolic(self.request, self.regime(size))

    def complete(self, size):
        return self.search.complete(self.request, self.regime(size))

    @property
    def traces(self):
        return self.counters.read().traces


def matched(result):
    assert isinstance(result, Match)
    return result


def test_one_program_serves_all_sizes_and_is_traced_once():
    case = Case(lambda x: x * 2)
    first, second = matched(case.symbolic(3)), matched(case.symbolic(7))
    assert first.specialisation is second.specialisation
    assert case.traces == 1 and case.search.count == 1
    assert case.search.specialisations == [first.specialisation]
    assert repr(first.specialisation) == (
        "Specialisation(Program(f: 1 equation, for 1 <= n <= 64), 0 executables)"
    )


def test_a_violated_guard_leads_to_the_regime_where_it_fails():
    case = Case(lambda x: x * 2 if x.shape[0] != 5 else x)
    assert matched(case.symbolic(3)).regime.reasons == ()
    (reason,) = matched(case.symbolic(5)).regime.reasons
    assert str(reason).startswith("n == 5 (decided at") and "test_search.py" in str(reason)
    assert len(case.search.specialisations) == 2


def test_a_question_splits_the_region():
    case = Case(lambda x: x[:4] if x.shape[0] > 4 else x)
    short, long = matched(case.symbolic(2)), matched(case.symbolic(40))
    programs = [m.specialisation.analysis.program for m in (short, long)]
    assert [program.region.ranges for program in programs] == [(("n", 1, 4),), (("n", 5, 64),)]
    assert matched(case.symbolic(3)).specialisation is short.specialisation
    assert matched(case.symbolic(5)).specialisation is long.specialisation
    assert case.traces == 2


def test_what_wants_numbers_fails_symbolically_and_is_generalised():
    case = Case(lambda x: x.reshape(len(range(x.shape[0])), 1).sum(0))
    failed = case.symbolic(6)
    assert isinstance(failed, Failed) and failed.can_be_generalised
    match = matched(case.complete(6))
    assert match.specialisation.analysis.program.varying is not None


def test_what_no_trace_fits_fails_with_both_reasons():
    case = Case(lambda x: sum(x[k] * k for k in range(x.shape[0])))
    failed = case.complete(12)
    assert isinstance(failed, Failed)
    assert "Generalising concrete traces failed" in str(failed.error)
    assert "f cannot be traced" in str(failed.error)


def test_an_unsupported_operator_is_final():
    unheard_of = jax.extend.core.Primitive("unheard_of")
    unheard_of.def_abstract_eval(lambda x: x)
    case = Case(unheard_of.bind)
    failed = case.complete(3)
    assert isinstance(failed, Failed) and not failed.can_be_generalised
    assert isinstance(failed.error, UnsupportedPrimitiveError)
    assert case.complete(4) is failed and case.traces == 1


def test_too_many_decisions_fail_with_all_of_them():
    def staircase(x):
        for edge in range(2, 2 + 2 * MOST_REGIMES):
            if x.shape[0] < edge:
                return x * edge
        return x

    case = Case(staircase)
    failed = case.symbolic(60)
    assert isinstance(failed, Failed) and isinstance(failed.error, TraceError)
    assert str(failed.error).count(" (decided at ") == MOST_REGIMES
    assert matched(case.complete(60)).specialisation.analysis.program.varying is not None


def test_after_giving_up_the_error_is_the_answer():
    case = Case(lambda x: x * 2)
    error = UnsupportedPrimitiveError("mul", "here", "none")
    case.search.give_up(matched(case.symbolic(3)).specialisation, error)
    failed = case.symbolic(9)
    assert isinstance(failed, Failed) and failed.error is error
    assert not case.search.specialisations


@pytest.mark.parametrize("size", [1, 64])
def test_the_ends_of_the_region_have_the_same_program(size):
    case = Case(lambda x: jnp.cumsum(x))
    assert matched(case.symbolic(size)).specialisation is matched(case.symbolic(9)).specialisation
