"""From the arguments of a call to named leaves with symbolic shapes."""
