"""Random bits: the same numbers as without padding."""
