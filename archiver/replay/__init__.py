"""replay: entries -> state at a point -> a target. A plan first, then what the plan says."""
