"""Where a point lies and what its state is made of."""
