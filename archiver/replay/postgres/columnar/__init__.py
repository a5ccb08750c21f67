"""Values of many rows as columns."""
