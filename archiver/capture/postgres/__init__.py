"""A PostgreSQL database: preflight, slot and baseline, then pgoutput frames as they come."""
