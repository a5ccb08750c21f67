"""pgoutput frames -> rows -> a database or SQL files."""
