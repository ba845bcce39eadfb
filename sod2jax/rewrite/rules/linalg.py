"""Linear algebra: blocks that leave the true block alone."""
