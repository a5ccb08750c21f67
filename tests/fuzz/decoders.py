"""Every decoder of bytes that somebody else wrote, with seeds, and which source files of the product it tries."""

from __future__ import annotations

import hashlib
import struct
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from archiver.capture.kubernetes.watch_lines import LineSplitter, TooLong
from archiver.capture.postgres.stream.packer import Packer
from archiver.errors import ArchiverError
from archiver.history.objects import ObjectRef
from archiver.history.rows import RowRef
from archiver.journal import drill_reports
from archiver.journal import segment as form
from archiver.journal.entry import Kind, Placed, Run
from archiver.journal.identity import read_identity
from archiver.journal.keys import IDENTITY, checkpoint_key, part_key
from archiver.journal.known_head import KnownHead
from archiver.journal.marks import check_name
from archiver.journal.pack import decode_pack, encode_pack
from archiver.journal.parts import Part, opened, part_fault
from archiver.journal.record_reader import read_record
from archiver.journal.records import Close, Gap, Mark, Session
from archiver.kubernetes import json_fields as kj
from archiver.kubernetes.checkpoint_records import decode_cluster_checkpoint, read_objects
from archiver.kubernetes.records import Absent, Listing, Verified, Watch
from archiver.kubernetes.stream_state import StreamState
from archiver.lake.counts_file import from_counts_file
from archiver.lake.data_file import DataFile, Wanted, footer_bytes, seal_of
from archiver.lake.delta_log import TableState, follow
from archiver.lake.log_checkpoint import from_summary
from archiver.postgres.announcement_seal import KEY_BYTES, SealKeys
from archiver.postgres.announcements import read_announcement
from archiver.postgres.lsn import parse_lsn, parse_position
from archiver.postgres.records import Announced, Look, Schema, Sequences, Slot, Snapshot, Stream
from archiver.postgres.replication_messages import commit_end, parse_keepalive, sent_begin, sent_commit
from archiver.postgres.visibility import Visible
from archiver.replay.points import parse_point
from archiver.replay.postgres.columnar.copy_text import blocks, split_columns, split_lines, unescape
from archiver.replay.postgres.decode import pgoutput
from archiver.replay.postgres.decode.commit_reader import CommitReader
from archiver.replay.postgres.decode.row_log import RowLog
from archiver.replay.postgres.decode.transactions import TransactionReader
from archiver.replay.postgres.plan.checkpoint_choice import decode_checkpoint
from archiver.replay.postgres.write.dump_items import items_of
from archiver.settings import load
from archiver.store.memory import MemoryStore
from archiver.untrusted import Unreadable, decode_untrusted, depth, elements, members
from tests.fuzz import golden
from tests.simulation.loop import inline, play
from tests.unit.replay.postgres import wire
from tests.unit.replay.postgres.write.dump_bytes import dump_of, entry

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

HISTORY = Path(__file__).parents[1] / "golden" / "history-v1"
RECORDS_SEAL = seal_of((HISTORY / "records.parquet").read_bytes())
CHECKPOINT = Path(__file__).parents[1] / "golden" / "checkpoint-v1" / "agents.json"
CLUSTER_CHECKPOINT = CHECKPOINT.parents[1] / "cluster-checkpoint-v1" / "agents.json"

Errors = tuple[type[Exception], ...]
DOCUMENTED: Errors = (ArchiverError,)
READABLE: Errors = (Unreadable,)


class Decoder(msgspec.Struct, frozen=True):
    """One entrance for foreign bytes."""

    call: Callable[[bytes], object]
    seeds: Sequence[bytes]
    errors: Errors = DOCUMENTED
    """What ``call`` may raise."""
    files: tuple[str, ...] = ()
    """Below ``archiver/``: where the bytes become values."""


def _text(call: Callable[[str], object]) -> Callable[[bytes], object]:
    """Of what a shell hands over: bytes that are not UTF-8 come as surrogates."""
    return lambda data: call(data.decode("utf-8", "surrogateescape"))


def _segment(data: bytes) -> None:
    for each in (data, golden.resealed(data)):
        for read in (form.raw_size, form.decode_header, form.footer_of, form.decode):
            with suppress(ArchiverError):
                read(each, 1 if each[7:8] != b"\x02" else 2)


def _blocks(data: bytes) -> None:
    """A segment whose content is ``data``, with every hash and size right: what only the runs themselves can be wrong in."""
    golden_one = golden.SEGMENTS[1]
    stored, _ = _forged(golden_one.header, data)
    form.decode(stored, 1)


def _pack(data: bytes) -> None:
    """With a right hash at its end, too."""
    for each in (data, data[:-32] + hashlib.sha256(data[:-32]).digest()):
        with suppress(ArchiverError):
            pack = decode_pack(each, 0, 6)
            for number in range(len(pack)):
                pack.segment(number)
            pack.prove()


def _forged(header: form.SegmentHeader, raw: bytes) -> tuple[bytes, bytes]:
    content = hashlib.sha256(raw).digest()
    head = msgspec.msgpack.encode(header)
    frame = zstd.compress(raw, 1)
    foot = msgspec.msgpack.encode(form.SegmentFooter(content, form.chain_of(header.prev, head, content), len(raw), 1))
    body = form.HEAD_MAGIC + struct.pack("<I", len(head)) + head + struct.pack("<II", len(frame), len(raw)) + frame + bytes(4) + foot
    return golden.resealed(body + struct.pack("<I", len(foot)) + bytes(32) + form.END_MAGIC), content


def _identity(data: bytes) -> None:
    store = MemoryStore()
    store.create(IDENTITY, data)
    play(read_identity(store))


def _history_commit(body: bytes) -> None:
    follow(TableState(), 0, body)


def _history_file(body: bytes) -> None:
    footer_bytes("f", body)
    file = DataFile("f", len(body), body, RECORDS_SEAL)
    groups = file.groups(Wanted([0, 16400], ['{"id":"1"}', ""]))
    ranges = file.ranges(groups)
    file.read(groups, [(each.start, body[each.start : each.end]) for each in ranges])


def _checkpoint(data: bytes) -> object:
    key = checkpoint_key("agents-db", 12344)
    return decode_checkpoint(data, key=key, archive="0123456789abcdef" * 2, source="agents-db", entry=12344)


def _cluster_checkpoint(data: bytes) -> object:
    key = checkpoint_key("agents", 12344)
    return decode_cluster_checkpoint(data, key=key, archive="0123456789abcdef" * 2, source="agents", entry=12344)


def _objects(data: bytes) -> None:
    for _ in read_objects(data, Part(part_key("agents", "base", 0), 2, 1, len(data), "")):
        pass


def _drill_report(data: bytes) -> None:
    store = MemoryStore()
    store.create(f"{drill_reports.PREFIX}1.json", data)
    play(drill_reports.newest(store, ["db"]))


def _part(data: bytes) -> None:
    part = Part(part_key("db", "base", 0), 1, len(data), len(ROWS), hashlib.sha256(data).hexdigest())
    store = MemoryStore()
    store.create(part.key, data)
    play(part_fault(store, part, deep=True, offload=inline))
    opened(part, data)


def _record(data: bytes) -> None:
    for of in (Session, Close, Gap, Announced, Look, Mark, Snapshot, Stream, Schema, Sequences, Slot, Watch, Listing, Absent, Verified):
        with suppress(ArchiverError):
            read_record(data, of)


SEAL_KEYS = SealKeys(bytes(KEY_BYTES), bytes(KEY_BYTES))


def _named_part(data: bytes) -> None:
    """What an entry says of its parts is asked of a store."""
    found = read_record(data, Snapshot)
    for part in [part for table in found.tables for part in table.parts]:
        play(part_fault(MemoryStore(), part, deep=True, offload=inline))


def _pgoutput(data: bytes) -> None:
    for streamed in (False, True):
        with suppress(ArchiverError):
            pgoutput.decode(data, streamed=streamed)


def _copy_data(data: bytes) -> None:
    """What a server sends, as the receiver looks at it."""
    for call in (parse_keepalive, commit_end, sent_begin, lambda frame: sent_commit(frame, 1)):
        with suppress(ArchiverError):
            call(data)
    packer = Packer("db", 0, keys=lambda: SEAL_KEYS)
    packer.frames += [COPY_DATA[0], data]
    packer.pack(1)
    packer.announced(1)


def _copy_text(data: bytes) -> None:
    unescape(data)
    split_lines(data)
    for block in blocks(data, 7):
        for columns in (1, 3):
            with suppress(ArchiverError):
                split_columns(block, columns)


def _json(data: bytes) -> None:
    for decoder in (kj.head, kj.event, kj.line, kj.page, kj.status):
        with suppress(Unreadable):
            decoder.decode(data)
    for call in (kj.object_of, kj.plain, members, elements, depth, lambda body: decode_untrusted(body, dict, most=1 << 20)):
        with suppress(Unreadable):
            call(data)


def _watch_lines(data: bytes) -> None:
    splitter = LineSplitter(1 << 20)
    for at in range(0, len(data), 97):
        splitter.feed(data[at : at + 97])


def _settings(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "archiver.yaml")
        file.write_bytes(data)
        load(file, {})


def _variable(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape").replace("\0", "")
    for name in ("ARCHIVER_ARCHIVE__URL", "ARCHIVER_ARCHIVE__HEARTBEAT_SECONDS", "ARCHIVER_SOURCES", f"ARCHIVER_{text[:20]}"):
        with suppress(ArchiverError):
            load(None, {name: text})


YAML = b"""
archive: {url: "file:///archive", heartbeat_seconds: 1}
sources:
  db: {postgres: {dsn: "host=db dbname=app", password: "env:PASSWORD", schemas: [public], exclude_tables: ["a.*"]}}
  cluster:
    kubernetes: {kubeconfig: /k, namespaces: [a], resources: ["agents.agents.proompteng.ai", "*.x"]}
web: {listen: "127.0.0.1:1"}
"""
ODD_YAML = [
    b"a: &a [*a, *a]\nb: 2001-99-99",
    b"? {a: b}\n: c",
    b"? [a]\n: b",
    b"a: !!int x",
    b"a: 0x",
    b"a: !!python/object:os.system {}",
    b"- " * 3000,
    b"a: .nan",
]
POINTS = [
    b"latest",
    b"5",
    b"mark:before",
    b"0/16B3748",
    b"2023-11-14T22:13:20Z",
    b"2023-11-14 22:13:20.5+01:00",
    b"20231114",
    b"2023-W46",
    b"9" * 5000,
]

ROWS = b"1\tone\n2\ttwo\n"
OBJECT = (
    b'{"apiVersion":"agents.proompteng.ai/v1","kind":"AgentRun","metadata":{"name":"run-1","namespace":"agents","uid":"u-1","resourceVersion":"33",'
    b'"creationTimestamp":"2023-11-14T22:13:20Z","managedFields":[{"manager":"kubectl","operation":"Update","fieldsV1":{"f:spec":{"f:n":{}}}}]},'
    b'"spec":{"n":1,"text":"\\u00e4\\"{[","list":[1,2.5,null,true]},"status":{"phase":"Running"}}'
)
EVENTS = [b'{"type":"' + kind + b'","object":' + OBJECT + b"}" for kind in (b"ADDED", b"MODIFIED", b"DELETED")]
BOOKMARK = b'{"type":"BOOKMARK","object":{"kind":"AgentRun","apiVersion":"agents.proompteng.ai/v1","metadata":{"resourceVersion":"40"}}}'
FAILED = b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old","details":{"retryAfterSeconds":1}}}'

FRAMES = [
    wire.relation(5, "t", "d", [("id", 23, True), ("note", 25, False)]),
    wire.insert(5, [b"1", b"x"]),
    wire.update(5, [b"2", wire.UNCHANGED], [b"1", None]),
    wire.update(5, [b"2", b"y"], [b"1", b"x"], full=True),
    wire.delete(5, [b"1", None]),
    wire.truncate([5, 6]),
    wire.begin(7, 100, 5),
    wire.commit(100, 200, 5),
    wire.stream_start(8, first=True),
    wire.insert(5, [b"1", b"x"], xid=8),
    wire.stream_stop(),
    wire.stream_commit(8, 300, 400, 6),
    wire.stream_abort(8, 9, with_lsn=True),
    b"M\x01" + bytes(8) + b"archiver/ddl\0" + b"\0\0\0\x15" + b'{"tag":"CREATE TABLE"}',
]
COPY_DATA = [wire.frame(frame, 100) for frame in FRAMES] + [b"k" + bytes(17)] + golden.bodies(Kind.PG_FRAMES)
DUMPS = [dump_of(entry(9, b"TABLE", b't"1', b"CREATE TABLE x ();\n", b'DROP TABLE public."t""1";\n', owner=b"al ice"))]
OBJECTS = [OBJECT, *EVENTS, BOOKMARK, FAILED]
PAGE = b'{"kind":"KList","metadata":{"resourceVersion":"9","continue":"x"},"items":[' + OBJECT + b"," + OBJECT + b"]}"
RECORDS = golden.bodies(*(kind for kind in Kind if kind not in (Kind.PG_FRAMES, Kind.PROGRESS, Kind.K8S_ITEM, Kind.K8S_EVENT)))
RECORDS.append(
    b'{"lsn":"0/12","visible":"700:702:701","taken":5,"cause":"start","server_version":180000,"dump_version":"18.1","catalog":{"tables":[{"oid":5,'
    b'"schema":"public","name":"t","kind":"r","persistence":"p","identity":"d","filenode":5,"mode":"key","columns":[{"attnum":1,"name":"id",'
    b'"type":"integer","type_oid":23,"not_null":true}],"key":[1]}],"roles":["al ice"],"types":[{"oid":7,"labels":{"8":"red"},"attributes":[[1,2]]}]}}'
)

DECODERS = {
    "segment": Decoder(_segment, [*golden.STORED, *golden.CHANGES], files=("journal/segment.py", "journal/segment_header.py")),
    "content of a segment": Decoder(_blocks, [b"".join(bytes(part) for part in form._pieces(each.runs)) for each in golden.SEGMENTS], files=("journal/segment.py",)),
    "pack": Decoder(_pack, [encode_pack(golden.SEGMENTS[0].header.archive, 0, 6, golden.STORED), encode_pack("a", 0, 6, [])], files=("journal/pack.py",)),
    "identity": Decoder(_identity, [golden.IDENTITY_BYTES]),
    "part": Decoder(_part, golden.PARTS, files=("journal/parts.py",)),
    "record": Decoder(_record, RECORDS),
    "named part": Decoder(_named_part, golden.bodies(Kind.CHECKPOINT, Kind.PG_TABLES)),
    "drill report": Decoder(_drill_report, [b'{"at":"latest","started":1,"finished":2,"passed":true,"sources":["db"],"steps":[{"name":"verify","seconds":1.5}]}']),
    "pgoutput message": Decoder(_pgoutput, FRAMES, files=("replay/postgres/decode/pgoutput.py",)),
    "copy data": Decoder(
        _copy_data,
        COPY_DATA,
        files=("postgres/replication_messages.py", "capture/postgres/stream/packer.py", "capture/postgres/stream/sealed_changes.py"),
    ),
    "announcement": Decoder(read_announcement, [b'{"tag":"ALTER TABLE","objects":[{"oid":5,"type":"table"}]}', *golden.bodies(Kind.PG_SLOT)], errors=()),
    "copy text": Decoder(_copy_text, [b"1\tx\\n\\\\\t\\N\n2\ty\t\n", b"\\.\n"], files=("replay/postgres/columnar/copy_text.py",)),
    "dump": Decoder(items_of, DUMPS, files=("postgres/dump_toc.py",)),
    "json": Decoder(_json, [*OBJECTS, PAGE, b'{"kind":"Status","code":410,"reason":"Expired"}'], files=("untrusted.py",)),
    "watch lines": Decoder(_watch_lines, [b"\n".join(OBJECTS)], errors=(TooLong,)),
    "settings file": Decoder(_settings, [YAML, *ODD_YAML], files=("settings/file.py",)),
    "settings variable": Decoder(_variable, [b"file:///x", b'["a","b"]', b"5", b"SOURCES__DB__POSTGRES__DSN"]),
    "folded checkpoint": Decoder(_checkpoint, [CHECKPOINT.read_bytes()], files=("replay/postgres/plan/checkpoint_choice.py",)),
    "history commit": Decoder(_history_commit, [(HISTORY / "commit.json").read_bytes()]),
    "history counts": Decoder(lambda body: from_counts_file("k", body, "db"), [(HISTORY / "counts.json.zst").read_bytes()], files=("lake/counts_file.py",)),
    "history summary": Decoder(lambda body: from_summary(0, body), [(HISTORY / "summary.json").read_bytes()]),
    "history file": Decoder(_history_file, [(HISTORY / "records.parquet").read_bytes()], files=("lake/data_file.py",)),
    "folded checkpoint of a cluster": Decoder(_cluster_checkpoint, [CLUSTER_CHECKPOINT.read_bytes()]),
    "objects of a folded checkpoint": Decoder(_objects, [CLUSTER_CHECKPOINT.with_name("objects").read_bytes()]),
    "--at": Decoder(_text(parse_point), POINTS),
    "--known-head": Decoder(_text(KnownHead.parse), [b"a" * 64 + b"@5", b"0" * 64]),
    "--object": Decoder(_text(ObjectRef.parse), [b"agentruns.agents.proompteng.ai/agents/run-1"]),
    "--table": Decoder(_text(lambda text: RowRef.parse(text, [text])), [b'public."a""b"', b"id=5"]),
    "mark": Decoder(_text(check_name), [b"before the migration"]),
    "positions": Decoder(_text(lambda text: (parse_lsn(text), parse_position(text))), [b"0/16B3748", b"FFFFFFFF/FFFFFFFF", b"16B3748"]),
    "snapshot": Decoder(_text(lambda text: Visible.parse(text, lsn=5)), [b"100:200:150,160", b"5:5:"]),
}  # fmt: skip


def _placed(kinds: Sequence[Kind], bodies: list[bytes]) -> list[Placed]:
    return [
        Placed(number, 1, 1, number, Run.of("db", kinds[number % len(kinds)], [body], observed=number, position=f"0/{number:X}"))
        for number, body in enumerate(bodies, 1)
    ]


def _transactions(bodies: list[bytes]) -> None:
    for reader in (TransactionReader(batch_bytes=64), CommitReader(batch_bytes=64)):
        with suppress(ArchiverError):
            for placed in _placed([Kind.PG_FRAMES], bodies):
                list(reader.feed(placed))
            list(reader.flush())


def _row_log(bodies: list[bytes]) -> None:
    log = RowLog(5, {"id": b"1"})
    for placed in _placed([Kind.PG_FRAMES], bodies):
        log.feed(placed)
    log.finish()


def _stream_state(bodies: list[bytes]) -> None:
    kinds = {b'{"t': Kind.K8S_EVENT, b'{"a': Kind.K8S_ITEM, b'{"k': Kind.K8S_ITEM}
    state = StreamState(bodies=True)
    for number, body in enumerate(bodies, 1):
        kind = kinds.get(body[:3], list(Kind)[body[5] % len(Kind)] if len(body) > 5 else Kind.GAP)
        state.apply(Placed(number, 1, 1, number, Run.of("cluster/x", kind, [body], observed=number)))


TRANSACTION = [wire.frame(frame, 100) for frame in (FRAMES[6], FRAMES[0], *FRAMES[1:5], FRAMES[7])]
STREAMED = [wire.frame(frame, 100) for frame in (FRAMES[8], FRAMES[9], FRAMES[10], FRAMES[11])]
SEQUENCES: dict[str, tuple[Callable[[list[bytes]], object], list[list[bytes]], tuple[str, ...]]] = {
    "transactions": (_transactions, [TRANSACTION, STREAMED, TRANSACTION + STREAMED, golden.bodies(Kind.PG_FRAMES)], ("replay/postgres/decode/frame_batch.py", "replay/postgres/decode/commit_reader.py")),
    "row log": (_row_log, [TRANSACTION, STREAMED + TRANSACTION], ("replay/postgres/decode/row_log.py",)),
    "state of a stream": (_stream_state, [golden.bodies(Kind.K8S_WATCH, Kind.K8S_ITEM, Kind.CHECKPOINT, Kind.K8S_EVENT, Kind.K8S_ABSENT, Kind.GAP)], ()),
}  # fmt: skip
"""What takes many bodies, one after the other: call, seeds, files."""
