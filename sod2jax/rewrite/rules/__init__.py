"""Rewrite rules by family; importing this package fills the table."""

from sod2jax.rewrite.rules import assemble as assemble
from sod2jax.rewrite.rules import branch as branch
from sod2jax.rewrite.rules import callbacks as callbacks
from sod2jax.rewrite.rules import contract as contract
from sod2jax.rewrite.rules import control as control
from sod2jax.rewrite.rules import convolution as convolution
from sod2jax.rewrite.rules import cumulative as cumulative
from sod2jax.rewrite.rules import elementwise as elementwise
from sod2jax.rewrite.rules import fourier as fourier
from sod2jax.rewrite.rules import gated_rows as gated_rows
from sod2jax.rewrite.rules import index as index
from sod2jax.rewrite.rules import layout as layout
from sod2jax.rewrite.rules import linalg as linalg
from sod2jax.rewrite.rules import loop as loop
from sod2jax.rewrite.rules import mesh as mesh
from sod2jax.rewrite.rules import order as order
from sod2jax.rewrite.rules import random as random
from sod2jax.rewrite.rules import reduce as reduce
from sod2jax.rewrite.rules import scatter as scatter
from sod2jax.rewrite.rules import selection as selection
from sod2jax.rewrite.rules import solve as solve
from sod2jax.rewrite.rules import window as window
