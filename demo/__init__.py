"""The product shown at work: ``python -m demo``."""
