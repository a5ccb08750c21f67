"""capture: source -> entries, verbatim. Nothing is decoded on the way in beyond what acknowledging needs."""
