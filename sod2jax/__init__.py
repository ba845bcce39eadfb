"""Run JAX functions written for exact shapes at any shape, exactly, from few XLA executables."""

from sod2jax import errors as errors
from sod2jax import numpy as numpy
from sod2jax.check import CheckReport as CheckReport
from sod2jax.check import check as check
from sod2jax.ir.foreign import register_rule as register_rule
from sod2jax.optimize import optimize as optimize
from sod2jax.optimized import OptimizedFunction as OptimizedFunction
from sod2jax.ragged import Ragged as Ragged
from sod2jax.ragged import ragged_vmap as ragged_vmap

__version__ = "0.1.0"
