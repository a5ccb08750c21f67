"""history: entries -> answers about one row or object, or about everything between two points or at one: log, show, diff, sql."""
