"""What makes capture take another dump, and what must not."""

from __future__ import annotations

import uuid

from archiver.capture.postgres.catalog.fingerprint import read_fingerprint
from archiver.capture.postgres.session.access import Access
from tests.integration.replay.postgres.arrange import run


async def test_only_roles_that_a_dump_names_count(database: str) -> None:
    """Roles belong to the whole server: one that nothing here depends on changes nothing; a grantee or owner with another name does."""
    stranger, member = (f"role_{uuid.uuid4().hex[:12]}" for _ in range(2))
    run(database, "CREATE TABLE t (id int)", f"CREATE ROLE {member}", f"GRANT SELECT ON t TO {member}")
    async with await Access.of(database).connect() as session:
        try:
            first = await read_fingerprint(session)
            run(database, f"CREATE ROLE {stranger}", f"GRANT {member} TO {stranger}", f"ALTER ROLE {stranger} RENAME TO {stranger}x")
            run(database, f"DROP ROLE {stranger}x")
            assert await read_fingerprint(session) == first
            run(database, f"ALTER ROLE {member} RENAME TO {member}x")
            second = await read_fingerprint(session)
            assert second != first
            run(database, f"ALTER ROLE {member}x RENAME TO {member}", f"ALTER TABLE t OWNER TO {member}")
            owned = await read_fingerprint(session)
            run(database, f"ALTER ROLE {member} RENAME TO {member}x", f"ALTER ROLE {member}x RENAME TO {member}", f"CREATE ROLE {stranger}")
            assert await read_fingerprint(session) == owned
            run(database, f"GRANT SELECT ON t TO {stranger}")
            assert await read_fingerprint(session) != owned
        finally:
            run(database, f"DROP OWNED BY {member}", f"DROP ROLE {member}")
            run(database, f"DO $$ BEGIN DROP OWNED BY {stranger}; DROP ROLE {stranger}; EXCEPTION WHEN undefined_object THEN END $$")
