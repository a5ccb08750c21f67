"""Changes folded to the rows of every table at a point."""
