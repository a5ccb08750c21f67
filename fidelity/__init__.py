"""Whether a restore gives back what was there: foreign or own material is captured while it changes, restored at many points, compared."""
