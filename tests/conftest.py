"""Fixtures live in tests/fixtures, one file per kind of server."""

import signal

# Shells start background jobs with SIGINT ignored. Processes that tests start, and interrupt, would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = [
    "tests.fixtures.fix_controlplane",
    "tests.fixtures.fix_hypothesis",
    "tests.fixtures.fix_postgres",
    "tests.fixtures.fix_promtool",
    "tests.fixtures.fix_proxy",
    "tests.fixtures.fix_s3",
]
