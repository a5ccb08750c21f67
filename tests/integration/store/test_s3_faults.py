"""The S3 store before a real server whose connections break, hang, lie and overload."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from archiver.clock import SystemClock
from archiver.errors import Invalid, Unavailable
from archiver.journal.put_once import put_once
from archiver.store.open import open_store
from archiver.store.protocol import Store
from tests.fixtures.fix_s3 import S3Place
from tests.servers.certificate import Certificate
from tests.servers.http_proxy import HttpFaultProxy, Request
from tests.servers.proxy import DOWN, UP
from tests.servers.s3 import S3Server


@pytest.fixture
def proxy(s3_place: S3Place, http_fault_proxy: Callable[[str, int], HttpFaultProxy]) -> HttpFaultProxy:
    return http_fault_proxy(s3_place.server.host, s3_place.server.port)


@pytest.fixture
async def store(s3_place: S3Place, proxy: HttpFaultProxy) -> AsyncIterator[Store]:
    """A store that reaches its server through ``proxy`` and gives up after 1.5 s."""
    made = await open_store(s3_place.url, s3_place.options(port=proxy.port, read_timeout_seconds=1.0, call_deadline_seconds=1.5))
    yield made
    await made.close()


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    started = time.monotonic()
    async with asyncio.timeout(seconds + 5):
        yield
    assert time.monotonic() - started < seconds


def is_put(request: Request) -> bool:
    return request.method == "PUT"


def puts(proxy: HttpFaultProxy) -> int:
    return sum(is_put(request) for request in proxy.requests)


async def test_bodies_are_sent_without_asking(store: Store, proxy: HttpFaultProxy) -> None:
    """No request announces its body, so a server that ignores ``Expect: 100-continue`` holds nothing up."""
    proxy.ignore_expect()
    async with within(5.0):
        assert await store.put_if_absent("key", b"x" * 1_000_000)
    assert not any("expect" in request.headers for request in proxy.requests)


async def test_bodies_are_plain_and_checked(store: Store, proxy: HttpFaultProxy) -> None:
    """A body is sent as it is, with its length and its SHA-256 in the head: trailing checksums are stored wrongly by some servers."""
    await store.put_if_absent("key", b"x" * 1000)
    head = next(request.headers for request in proxy.requests if is_put(request))
    assert head["content-length"] == "1000"
    assert head["x-amz-checksum-sha256"]
    assert head["if-none-match"] == "*"
    assert "content-encoding" not in head
    assert "transfer-encoding" not in head


@pytest.mark.parametrize("direction", [None, UP, DOWN])
async def test_silence_ends_at_the_deadline(store: Store, proxy: HttpFaultProxy, direction: str | None) -> None:
    """When the network path dies without a sign, every call ends at its deadline and the next works again."""
    await store.put_if_absent("before", b"x")
    proxy.hang(UP if direction == UP else DOWN if direction == DOWN else None)
    calls = (store.put_if_absent("key", b"x" * 3_000_000), store.get("before"), store.size("before"), store.list(""))
    async with within(5.0):
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unavailable] * len(calls)
    proxy.cut()
    proxy.reset()
    assert await store.get("before") == b"x"


async def test_frozen_server_ends_at_the_deadline(s3_place: S3Place) -> None:
    """A server that is alive for the kernel only is given up at the deadline."""
    store = await open_store(s3_place.url, s3_place.options(call_deadline_seconds=2.0))
    try:
        assert await store.put_if_absent("a", b"x")
        s3_place.server.freeze()
        async with within(5.0):
            with pytest.raises(Unavailable, match="no answer within 2 s"):
                await store.put_if_absent("b", b"x")
    finally:
        s3_place.server.thaw()
        await store.close()


async def test_lost_answer_is_our_own_object(store: Store, proxy: HttpFaultProxy) -> None:
    """A put that was done but whose answer was lost is sent again, finds its own bytes, and counts as created."""
    proxy.lose_answer(match=is_put)
    assert await store.put_if_absent("key", b"ours")
    assert puts(proxy) == 2
    assert await store.get("key") == b"ours"


async def test_lost_answer_is_not_our_object(store: Store, proxy: HttpFaultProxy) -> None:
    """When the lost answer was that the key exists, the object of the other is not taken for ours."""
    await store.put_if_absent("key", b"theirs")
    proxy.lose_answer(match=is_put)
    assert not await store.put_if_absent("key", b"ours")
    assert await store.get("key") == b"theirs"


async def test_answer_lost_every_time(store: Store, proxy: HttpFaultProxy) -> None:
    """Answers that are always lost leave the outcome open, after as many requests as we know of: nothing below sends one by itself."""
    proxy.lose_answer(match=is_put, times=None)
    with pytest.raises(Unavailable):
        await store.put_if_absent("key", b"ours")
    assert 1 < puts(proxy) <= 4
    proxy.reset()
    assert await store.get("key") == b"ours"


async def test_error_after_the_work_was_done(store: Store, proxy: HttpFaultProxy) -> None:
    """A 500 for a put that took effect ends as created."""
    proxy.answer(500, match=is_put, forwarded=True)
    assert await store.put_if_absent("key", b"ours")


async def test_request_that_lands_late(store: Store, proxy: HttpFaultProxy) -> None:
    """A request that the network delivers after its retry was answered changes nothing."""
    proxy.late(0.4, match=is_put)
    assert await store.put_if_absent("key", b"ours")
    await asyncio.sleep(0.6)
    assert await store.get("key") == b"ours"


@pytest.mark.parametrize("status", [409, 429, 500, 503])
async def test_passing_errors_are_waited_out(store: Store, proxy: HttpFaultProxy, status: int) -> None:
    """Overload, conflict and failure of the server are asked again within the call."""
    proxy.answer(status, times=2)
    assert await store.put_if_absent("key", b"x")
    proxy.answer(status, times=2)
    assert await store.get("key") == b"x"


async def test_storm_of_errors_is_unavailable(store: Store, proxy: HttpFaultProxy) -> None:
    """When it does not pass, the call ends as unavailable within its deadline, and nothing is created."""
    proxy.answer(503, times=None, body=b"<html>no S3 answer at all</html>")
    calls = (store.put_if_absent("key", b"x"), store.get("key"), store.size("key"), store.list(""), store.delete("key"))
    async with within(5.0):
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unavailable] * len(calls)
    # On a slow machine the deadline passes while one more answer is on its way.
    assert all("HTTP status 503" in str(outcome) or "no answer within" in str(outcome) for outcome in outcomes)
    assert any("HTTP status 503" in str(outcome) for outcome in outcomes)
    proxy.reset()
    assert await store.get("key") is None


async def test_cut_in_the_middle_of_a_body(store: Store, proxy: HttpFaultProxy) -> None:
    """A body that breaks off, either way, is never taken for a whole one."""
    data = bytes(range(256)) * 8000
    proxy.cut_after(1_000_000, UP)
    assert await store.put_if_absent("key", data)
    assert await store.get("key") == data
    for how in ("rst", "fin"):
        proxy.cut_after(1_000_000, DOWN, how="fin" if how == "fin" else "rst")
        assert await store.get("key") == data


async def test_refused_connection(store: Store, proxy: HttpFaultProxy) -> None:
    """A server that is not there is unavailable, and there again once it is."""
    proxy.refuse()
    with pytest.raises(Unavailable, match="does not answer"):
        await store.put_if_absent("key", b"x")
    proxy.accept()
    assert await store.put_if_absent("key", b"x")


async def test_wrong_credentials(s3_place: S3Place) -> None:
    """Credentials that never worked are a wrong setting; neither they nor the right ones are repeated in the error."""
    options = s3_place.options()
    for name, wrong in (("access", "WRONGKEY"), ("secret", "wrong-secret")):
        options = s3_place.options()
        store = await open_store(s3_place.url, options)
        right = (s3_place.secrets / name).read_text()
        (s3_place.secrets / name).write_text(wrong)
        try:
            with pytest.raises(Invalid) as caught:
                await store.put_if_absent("key", b"x")
        finally:
            await store.close()
        assert f"archive.s3.{name}_key" in caught.value.hint
        for secret in (wrong, right.strip(), s3_place.server.secret_key):
            assert secret not in str(caught.value)


async def test_rotated_credentials(s3_place: S3Place) -> None:
    """A credential file that changes is read again; credentials that worked once and fail now are waited for."""
    store = await open_store(s3_place.url, s3_place.options())
    try:
        assert await store.put_if_absent("a", b"x")
        (s3_place.secrets / "secret").write_text("no-longer-valid")
        with pytest.raises(Unavailable):
            await store.put_if_absent("b", b"x")
        (s3_place.secrets / "secret").write_text(s3_place.server.secret_key)
        assert await store.put_if_absent("b", b"x")
    finally:
        await store.close()


async def test_credentials_with_a_line_end(s3_place: S3Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials in variables that end in a line end, as those of a Kubernetes Secret made from a file do, are let in."""
    monkeypatch.setenv("AN_ACCESS_KEY", f"{s3_place.server.access_key}\n")
    monkeypatch.setenv("A_SECRET_KEY", f"{s3_place.server.secret_key}\n")
    store = await open_store(s3_place.url, s3_place.options(access_key="env:AN_ACCESS_KEY", secret_key="env:A_SECRET_KEY"))
    try:
        assert await store.put_if_absent("a", b"x")
    finally:
        await store.close()


async def test_missing_bucket(s3_place: S3Place) -> None:
    """A bucket that does not exist is a wrong setting, named as such."""
    store = await open_store("s3://there-is-no-such-bucket/p", s3_place.options())
    try:
        with pytest.raises(Invalid, match="NoSuchBucket"):
            await store.get("archive.json")
        with pytest.raises(Invalid, match="NoSuchBucket"):
            await store.put_if_absent("archive.json", b"x")
    finally:
        await store.close()


async def test_tls(s3_place: S3Place, tmp_path: Path) -> None:
    """Over TLS the server's certificate is checked against the given authorities."""
    certificate = Certificate.create(tmp_path)
    with HttpFaultProxy.start(s3_place.server.host, s3_place.server.port, certificate=certificate) as proxy:
        endpoint = f"https://127.0.0.1:{proxy.port}"
        trusting = s3_place.options(endpoint=endpoint, allow_http=False, ca_file=str(certificate.certificate))
        async with AsyncExitStack() as stack:
            store = await open_store(s3_place.url, trusting)
            stack.push_async_callback(store.close)
            assert await store.put_if_absent("key", b"x" * 300_000)
            assert await store.get("key") == b"x" * 300_000
            doubting = await open_store(s3_place.url, s3_place.options(endpoint=endpoint, allow_http=False))
            stack.push_async_callback(doubting.close)
            with pytest.raises(Invalid, match="TLS"):
                await doubting.get("key")


async def test_no_acknowledged_put_is_lost(start_s3: Callable[[], S3Server], tmp_path: Path) -> None:
    """When the server is killed under writers and comes back, everything that was acknowledged is there, whole and once."""
    server = start_s3()
    place = S3Place(server, server.create_bucket("crash"), "p", tmp_path)
    store = await open_store(place.url, place.options(connect_timeout_seconds=0.5, read_timeout_seconds=2.0, call_deadline_seconds=3.0))
    acknowledged: dict[str, bytes] = {}
    stopped = asyncio.Event()

    async def write(writer: int) -> None:
        n = 0
        while not stopped.is_set():
            key, data = f"journal/{writer}-{n:06d}", b"%d %d " % (writer, n) * 200
            try:
                # Like the journal's writer: the same bytes of the same key until the answer is known.
                assert await store.put_if_absent(key, data) or await store.get(key) == data
            except Unavailable:
                continue
            acknowledged[key] = data
            n += 1

    try:
        writers = [asyncio.create_task(write(n)) for n in range(6)]
        await asyncio.sleep(1.0)
        server.kill()
        before = len(acknowledged)
        await asyncio.to_thread(server.boot)
        async with asyncio.timeout(30):
            while len(acknowledged) < before + 50:
                await asyncio.sleep(0.05)
        stopped.set()
        await asyncio.gather(*writers)
        assert before > 50
        for key, data in acknowledged.items():
            assert await store.get(key) == data, key
        assert set(await store.list("journal/")) >= set(acknowledged)
    finally:
        stopped.set()
        await store.close()


async def test_a_slow_line_carries_large_objects(store: Store, proxy: HttpFaultProxy) -> None:
    """An object that does not pass within one call's time gets more at every try, and passes; small calls keep theirs."""
    data = bytes(range(256)) * 24_000
    proxy.delay(0.05, UP)
    async with asyncio.timeout(60):
        assert await put_once(store, SystemClock(), "key", data) is None
    assert 1 < puts(proxy) <= 10
    before = puts(proxy)
    async with asyncio.timeout(30):
        assert await put_once(store, SystemClock(), "another", data) is None
    assert puts(proxy) == before + 1
    proxy.delay(0.0, UP)
    proxy.hang(DOWN)
    async with within(5.0):
        with pytest.raises(Unavailable, match=r"no answer within 1\.5 s"):
            await store.size("key")


async def test_a_slow_line_brings_large_objects(store: Store, proxy: HttpFaultProxy) -> None:
    """What keeps arriving puts the end of a read off; silence does not."""
    data = bytes(range(256)) * 24_000
    assert await store.put_if_absent("key", data)
    proxy.delay(0.05, DOWN)
    assert await store.get("key") == data
    assert sum(request.method == "GET" for request in proxy.requests) == 1
