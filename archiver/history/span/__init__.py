"""Everything that changed between two points, over databases and clusters: entries -> changes in one order."""
