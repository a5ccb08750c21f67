"""Whether a source may continue where its journal ends."""
