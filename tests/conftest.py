"""Fixtures live in tests/fixtures, one file per kind of server."""

pytest_plugins = [
    "tests.fixtures.fix_controlplane",
    "tests.fixtures.fix_hypothesis",
    "tests.fixtures.fix_postgres",
    "tests.fixtures.fix_proxy",
    "tests.fixtures.fix_s3",
]
