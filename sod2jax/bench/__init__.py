"""The main job: one stream of variable-length requests through a model, run several ways.

``python -m sod2jax.bench`` runs every method in its own fresh process on the same weights and
requests, compares their results, and prints a table. Suites (model, requests, padding by hand) are
read from ``bench/suites`` of the current folder; without one, a small built-in encoder is used.
"""
