"""``vmap`` over examples of different sizes: one padded batch, exact per row.

``function`` is the public face: ``batch`` splits arguments into leaves and rows, ``stacked`` reads
padded ones with their ``true_sizes``. ``over_rows`` groups rows by their ``plans`` and runs them by
``programs``; ``batched`` is the program over rows, ``derivative`` its pullback, and ``arrays`` pads
and trims.
"""

from sod2jax.ragged.batch import Ragged
from sod2jax.ragged.function import RaggedFunction, ragged_vmap

__all__ = ["Ragged", "RaggedFunction", "ragged_vmap"]
