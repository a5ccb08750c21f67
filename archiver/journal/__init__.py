"""journal: entries <-> numbered, immutable, hash-chained segments in a store."""
