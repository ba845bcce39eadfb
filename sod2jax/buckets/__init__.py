"""The few padded sizes that serve a whole region of shapes."""
