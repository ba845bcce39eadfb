"""Primitives that depend on the order of lanes: sort, top-k, argmax, cumulative."""
