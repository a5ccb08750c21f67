"""URLs of archives, and the options that go with them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from archiver.errors import Invalid
from archiver.settings.model import S3
from archiver.store.open import open_store


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("file:///var/lib/archiver", "file:///var/lib/archiver"),
        ("file://localhost/with%20space/", "file:///with%20space"),
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("memory:", "memory:"),
    ],
)
async def test_opens(url: str, shown: str) -> None:
    """Each kind is opened without touching anything, and says where it is."""
    store = await open_store(url, S3(access_key="env:PATH", secret_key="env:PATH"))
    assert store.url == shown
    await store.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "no known kind"),
        ("/var/lib/archiver", "no known kind"),
        ("gs://bucket/x", "no known kind"),
        ("file:relative", "absolute"),
        ("file://host/path", "absolute"),
        ("s3://", "not the name of a bucket"),
        ("s3://bad bucket/x", "not the name of a bucket"),
        ("s3://bucket/a/../b", "not allowed"),
        ("s3://bucket/ä", "not allowed"),
        ("s3://key:hidden@bucket/x", "no credentials"),
        ("s3://bucket/x?secret=hidden", "no credentials"),
    ],
)
async def test_refuses_urls(url: str, says: str) -> None:
    """A URL that cannot work is refused with what is allowed, and what may be a secret is not repeated."""
    with pytest.raises(Invalid, match=says) as caught:
        await open_store(url, S3())
    assert caught.value.hint
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"endpoint": "http://127.0.0.1:1"}, "without TLS"),
        ({"endpoint": "127.0.0.1:1"}, "not a URL"),
        ({"endpoint": "ftp://x"}, "not a URL"),
        ({"endpoint": "https://key:hidden@x"}, "not a URL"),
        ({"access_key": "env:PATH"}, "one of access_key and secret_key"),
        ({"access_key": "hidden", "secret_key": "hidden"}, "not a secret reference"),
        ({"access_key": "env:THERE_IS_NO_SUCH", "secret_key": "env:PATH"}, "THERE_IS_NO_SUCH"),
        ({"access_key": "file:/none/such", "secret_key": "env:PATH"}, "/none/such"),
        ({"ca_file": "/none/such"}, "/none/such"),
    ],
)
async def test_refuses_options(changes: dict[str, str], says: str) -> None:
    """Options that cannot work are refused before anything is asked, without repeating a secret."""
    with pytest.raises(Invalid, match=says) as caught:
        await open_store("s3://bucket/x", msgspec.structs.replace(S3(), **changes))
    assert "hidden" not in str(caught.value)


async def test_directory_url_with_spaces(tmp_path: Path) -> None:
    """The folder that the URL names is the one that is written."""
    store = await open_store((tmp_path / "my archive").as_uri(), S3())
    await store.put_if_absent("journal/0", b"x")
    await store.close()
    assert (tmp_path / "my archive/journal/0").read_bytes() == b"x"
