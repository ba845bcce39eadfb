"""Batched gates: what only some rows need runs only for them."""
