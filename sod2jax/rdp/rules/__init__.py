"""Transfer rules by family; importing this package fills the table."""

from sod2jax.rdp.rules import assemble as assemble
from sod2jax.rdp.rules import contract as contract
from sod2jax.rdp.rules import control as control
from sod2jax.rdp.rules import elementwise as elementwise
from sod2jax.rdp.rules import gated_rows as gated_rows
from sod2jax.rdp.rules import index as index
from sod2jax.rdp.rules import layout as layout
from sod2jax.rdp.rules import order as order
from sod2jax.rdp.rules import random as random
from sod2jax.rdp.rules import reduce as reduce
from sod2jax.rdp.rules import window as window
