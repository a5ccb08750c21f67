"""history: entries -> answers about one row or object: log, show, diff."""
