"""Moves of lanes and masks that rewrite rules are made of."""
