"""What held from the beginning, and must go on holding: downloads, pictures, recorded stores, and the environment."""

from __future__ import annotations

import os
import struct
import tracemalloc
import uuid
import zlib
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import yaml

from harness.cli import main
from harness.composing import compose_config
from harness.data import cache
from harness.data.network import Limits, download
from harness.data.pictures import read_picture
from harness.data.sources import Source
from harness.errors import DataError
from harness.run.log import log_configuration
from harness.run.reproduce import _config
from harness.tracking.models import find_trained
from harness.tracking.store import open_store
from harness.tracking.writing import RunIdentity, tracked_run
from tests.dataset.tiny import TINY, raw_files
from tests.security.stranger import Stranger, settings
from tests.security.test_places import attacker
from tests.security.test_servers import sending

__all__ = ["attacker"]


def test_a_download_whose_sum_is_another_is_not_kept(tmp_path: Path) -> None:
    """A byte of one file is changed; the names, the sizes and all else are right."""

    def altered(workspace: Path, limits: Limits) -> Path:
        for number, (name, content) in enumerate(raw_files().items()):
            (workspace / name).write_bytes(content if number else content[:-1] + bytes([content[-1] ^ 1]))
        return workspace

    with pytest.raises(DataError, match="SHA-256"):
        cache.obtain(TINY, tmp_path / "root", [Source("tiny", "a source of a stranger", altered)])
    assert not [file for file in (tmp_path / "root").rglob("*") if file.is_file() and file.name in raw_files()]


@pytest.mark.parametrize("target", ["file:///etc/hostname", "file:/etc/hostname", "data:,x", "gopher://127.0.0.1/x"])
def test_a_download_is_not_redirected_to_a_file(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    def away(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", target)
        handler.end_headers()

    with sending(away) as address, pytest.raises(DataError, match="302"):
        download(f"{address}/train.gz", tmp_path / "got")
    assert not (tmp_path / "got").exists()


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    pixels = (b"IDAT", zlib.compress(bytes((width + 1) * height) if width * height < 10**6 else b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in (header, *chunks, pixels, (b"IEND", b""))
    )


ZEROS = zlib.compress(bytes(2**27), 1)
BOMBS = {
    "wide.png": png(2**31 - 1, 1), "large.png": png(20_000, 20_000), "huge.png": png(2**31 - 1, 2**31 - 1),
    "text.png": png(9, 9, (b"zTXt", b"a\0\0" + ZEROS)), "profile.png": png(9, 9, (b"iCCP", b"a\0\0" + ZEROS)),
    "large.gif": b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b",\0\0\0\0\xff\xff\xff\xff\0\x02\0;",
    "large.bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0),
    "large.ppm": b"P6 60000 60000 255\n",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_is_no_large_picture(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(BOMBS[name])
    read_picture(Path(__file__).parents[2] / "docs" / "images" / "benchmarks.png", "stretch", (28, 28))  # imports
    tracemalloc.start()
    with pytest.raises(DataError, match=name):
        read_picture(tmp_path / name, "stretch", (28, 28))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2**26


@pytest.mark.parametrize("words", [("predict", "RUN"), ("export", "RUN", "out"), ("inspect", "RUN")])
def test_the_store_that_a_configuration_names_is_not_asked(
    words: tuple[str, ...], stranger: Stranger, attacker: tuple[str, list[bytes]]
) -> None:
    address, heard = attacker
    stranger.configure(yaml.safe_dump(settings(f"tracking.uri={address}")))
    main([*(stranger.run if word == "RUN" else word for word in words), "--store", stranger.uri])
    assert heard == []
    store = open_store(stranger.uri)  # what `reproduce` would train with
    assert _config(store, find_trained(store, stranger.run)).tracking.uri == stranger.uri


def test_no_variable_of_the_environment_is_recorded(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hush = uuid.uuid4().hex  # not a word of this file: an uncommitted diff is recorded
    for name in ("AWS_SECRET_ACCESS_KEY", "DATABASE_URL", "MLFLOW_TRACKING_TOKEN", "HARNESS_ANYTHING", "PYTHONSTARTUP"):
        monkeypatch.setenv(name, hush)
    config = compose_config([])
    with tracked_run(open_store(), RunIdentity("a run", "study")) as tracked:
        log_configuration(tracked, config, [])
    files = [file for file in project.rglob("*") if file.is_file()]
    assert any(file.name == "packages.txt" for file in files), "what a run records is there"
    content = b"".join(file.read_bytes() for file in files)
    assert hush.encode() not in content
    assert os.environ["PATH"].encode() not in content
