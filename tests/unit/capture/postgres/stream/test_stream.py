"""What is sent to start a stream, and what a timeline history says."""

from __future__ import annotations

from archiver.capture.postgres.session.replication import describe
from archiver.capture.postgres.start.server_view import timeline_ends
from archiver.capture.postgres.stream.stream import StreamOptions, protocol_version, start_command


def test_start_command_quotes_names() -> None:
    """Names with quotes stay names."""
    options = StreamOptions(
        slot="archiver_db",
        known=16,
        newest=None,
        start=0x16B374D848,
        publications=("it's", 'a "b"'),
        protocol=4,
        streaming=True,
        queue_bytes=1,
        heartbeat_seconds=1.0,
        synchronous=False,
        largest_bytes=1 << 26,
    )
    assert start_command(options) == (
        'START_REPLICATION SLOT "archiver_db" LOGICAL 16/B374D848 ('
        "proto_version '4', publication_names '\"it''s\",\"a \"\"b\"\"\"', messages 'true', streaming 'on')"
    )


def test_protocol_by_version() -> None:
    """The newest protocol of each server."""
    assert [protocol_version(version) for version in (150018, 160000, 180004)] == [3, 4, 4]


def test_timeline_history_is_read() -> None:
    """Each line says where a timeline ended; comments and empty lines say nothing."""
    assert timeline_ends(b"1\t0/3000000\tno recovery target specified\n\n# note\n2\t16/B374D848\tbefore 2026\n") == {
        1: 0x3000000,
        2: 0x16B374D848,
    }


def test_describe_leaves_secrets_out() -> None:
    """Who, where, which database; never the password."""
    assert describe("postgresql://me:secret@db.example:5433/app?sslpassword=hidden") == "postgresql://me@db.example:5433/app"
    assert "secret" not in describe("host='broken password=secret")
