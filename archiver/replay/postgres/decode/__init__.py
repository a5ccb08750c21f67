"""Frames of the journal read as committed transactions and rows."""
