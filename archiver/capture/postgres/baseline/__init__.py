"""The first complete state: schema, rows, sequences under one snapshot; and later copies of single tables."""
