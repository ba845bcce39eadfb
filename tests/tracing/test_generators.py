"""NumPy's random generators are compiled code: what is hooked must not reach them."""

from __future__ import annotations

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.region import Region
from sod2jax.tracing import guards

BOTH = """beta(2.,3.,size=n) binomial(5,.3,size=n) chisquare(3.,size=n) dirichlet([1.,2.],size=n)
exponential(size=n) f(2.,3.,size=n) gamma(2.,size=n) geometric(.3,size=n) gumbel(size=n)
hypergeometric(5,6,4,size=n) laplace(size=n) logistic(size=n) lognormal(size=n)
logseries(.3,size=n) multinomial(5,[.2,.8],size=n) multivariate_normal([0.,1.],np.eye(2),size=n)
negative_binomial(3,.4,size=n) noncentral_chisquare(3.,1.,size=n) noncentral_f(2.,3.,1.,size=n)
normal(size=n) normal(0.,1.,(n,3)) normal(n,1.,3) normal(np.zeros(n),1.)
normal(scale=1/np.sqrt(n),size=4) pareto(2.,size=n) permutation(n) permutation(np.arange(n))
poisson(3.,size=n) poisson(n) power(2.,size=n) rayleigh(size=n) standard_cauchy(size=n)
standard_exponential(size=n) standard_gamma(2.,size=n) standard_normal(size=n)
standard_t(3.,size=n) triangular(0.,1.,2.,size=n) uniform(size=n) uniform(0,n) uniform(0,n,n)
vonmises(0.,1.,size=n) wald(1.,1.,size=n) weibull(2.,size=n) zipf(2.,size=n) choice(n)
choice(n,3) choice(5,size=n) choice(n,size=n,replace=False) bytes(n)
shuffle(np.arange(n))""".split()
NEW = """integers(0,n) integers(0,5,size=n) integers(n,size=3) random(n) random(size=(n,2))
random(out=np.empty(n)) standard_normal(out=np.zeros(n))
standard_normal(n,dtype=np.float32)
multivariate_hypergeometric([5,6],4,size=n) permuted(np.arange(n))""".split()
OLD = """randint(0,n) randint(0,5,size=n) rand(n) rand(n,2) randn(n) random_sample(n)""".split()
CALLS = [
    *(("np.random.default_rng(0)", call) for call in (*BOTH, *NEW)),
    *(("np.random.RandomState(0)", call) for call in (*BOTH, *OLD)),
    *(("np.random", call) for call in (*BOTH, *OLD)),
]


def drawn(generator, call, size):
    """What a call of NumPy gives in a symbolic trace; "refused" if it raises."""
    namespace, seen = {"np": np}, ["refused"]
    exec(f"def draw(n):\n    return {generator}.{call}", namespace)

    def fun(x):
        seen.append(namespace["draw"](x.shape[0]))
        return x

    with contextlib.suppress(Exception):  # whatever NumPy's code makes of what is no number
        jax.jit(fun).trace(jax.ShapeDtypeStruct((size,), np.float32))
    return seen[-1]


def test_none_is_given_what_is_no_array():
    """It raises, or gives an array that was computed; what would be wrong here ends the process."""
    region = Region.of(["n"], [Comparison.parse("n <= 8")])
    (n,) = jax.export.symbolic_shape("n", constraints=["n <= 8"])
    refused = 0
    for generator, call in CALLS:
        with guards.recording(region, n.scope):
            got = drawn(generator, call, n)
        refused += isinstance(got, str)
        assert isinstance(got, (str, np.ndarray, np.generic, type(None))), (generator, call)
    assert refused > len(CALLS) - 10


def draws(x):
    rng = np.random.default_rng(len(x))
    n = x.shape[0]
    noise = rng.normal(size=(n, 2)) + rng.permutation(n)[:, None]
    return x[:, None] + jnp.asarray(noise, jnp.float32) * rng.choice(n + 1)


@pytest.mark.parametrize("shapes", [("n",), None], ids=["specs", "bare"])
def test_values_are_those_of_each_size(shapes):
    constraints = ("n <= 16",) if shapes else ()
    optimized = sod2jax.optimize(draws, shapes=shapes, constraints=constraints, poison=True)
    for size in (16, 5, 11, 1):
        x = np.ones(size, np.float32)
        np.testing.assert_array_equal(optimized(x), jax.jit(draws)(x))
    stats = optimized.stats()
    assert (stats.exact_fallbacks, "checked" in optimized.explain()) == (0, True)
