"""A folded checkpoint, computed a second way: from history files, by SQL. What the fold made must be what the SQL says.

checkpoint -> its rows as records  ─┐
                                    ├─ one statement, twice -> counts and digests of each table -> the same, or a table is named
history files up to its entry ──────┘
"""
