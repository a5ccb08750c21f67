"""State at a point, written into a database or a folder."""
