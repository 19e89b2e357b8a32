"""A full disk and a directory that cannot be written: one clear line, and what was there stays."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Marketplace, vps
from episodes import command, each_partition_is_whole, state_of
from scenario import listing, listings_file

from vps_assets.home import Home

SIZE = 384 << 20


@pytest.fixture
def small_disk(tmp_path: Path, marketplace: Marketplace) -> Iterator[Home]:
    """The marketplace on a file system of its own, with little room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", disk], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        shutil.copytree(marketplace.home.path, disk / "home", ignore=shutil.ignore_patterns("demo"))
        yield Home(disk / "home")
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def fill(home: Home, leave: int) -> Path:
    """Fill the disk but for so many bytes."""
    filler = home.path.parent / "filler"
    free = shutil.disk_usage(home.path).free
    filler.write_bytes(b"\1" * max(0, free - leave))
    return filler


def fails_in_one_line(ran: subprocess.CompletedProcess[str], *words: str) -> None:
    assert ran.returncode == 1, ran.stderr
    last = ran.stderr.strip().splitlines()[-1]
    assert last.startswith("vps: "), ran.stderr[-1500:]
    assert any(word in last for word in words), last
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("leave", [0, 200_000])
def test_landing_on_a_full_disk_lands_nothing_and_says_so(small_disk: Home, tmp_path: Path, leave: int) -> None:
    file = listings_file(tmp_path / "new", [listing(number) for number in range(60)])
    before = sorted(path.name for path in small_disk.landing.iterdir())
    filler = fill(small_disk, leave)
    fails_in_one_line(vps("land", str(file), home=small_disk.path), "No space left", "space")
    assert sorted(path.name for path in small_disk.landing.iterdir()) == before
    filler.unlink()
    assert vps("land", str(file), home=small_disk.path).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("leave", [100_000, 3_000_000, 8_000_000])
def test_a_run_on_a_full_disk_fails_clearly_and_goes_on_once_there_is_room(
    small_disk: Home, tmp_path: Path, leave: int
) -> None:
    file = listings_file(tmp_path / "new", [listing(number) for number in range(60)])
    assert vps("land", str(file), home=small_disk.path).returncode == 0
    before = state_of(small_disk.analytics)
    filler = fill(small_disk, leave)
    ran = vps("run", "--select", "+image_embeddings", home=small_disk.path)
    fails_in_one_line(ran, "No space left", "space", "disk", "full")
    seen = state_of(small_disk.analytics)
    filler.unlink()
    assert vps("run", "--select", "+image_embeddings", home=small_disk.path).returncode == 0
    after = state_of(small_disk.analytics)
    assert after != before
    each_partition_is_whole(seen, before, after)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv, of util-linux, is not here")
def test_a_directory_that_cannot_be_written_is_named_and_stays_as_it_is(
    tmp_path: Path, marketplace: Marketplace
) -> None:
    """As a user without rights: root may write anywhere."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    home = tmp_path / "home"
    shutil.copytree(marketplace.home.path, home, ignore=shutil.ignore_patterns("demo", "models", "embeddings"))
    file = listings_file(tmp_path / "new", [listing(1)])
    for folder in [tmp_path, *tmp_path.parents][:3]:  # pytest's own, which nobody else may enter
        folder.chmod(folder.stat().st_mode | 0o055)
    before = state_of(Home(home).analytics)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    line, keywords = command(home, "doctor", HOME=str(tmp_path), NUMBA_CACHE_DIR=str(tmp_path))
    able = subprocess.run(
        [*nobody, *line[:1], "-c", "import vps_assets.cli"], **keywords, capture_output=True, text=True
    )
    if able.returncode:
        pytest.skip(f"another user cannot run Python from here: {able.stderr.strip()[-200:]}")
    for arguments in (("land", str(file)), ("run",)):
        line, keywords = command(home, *arguments, HOME=str(tmp_path), NUMBA_CACHE_DIR=str(tmp_path))
        ran = subprocess.run([*nobody, *line], **keywords, capture_output=True, text=True, timeout=300)
        fails_in_one_line(ran, "Permission denied", "permission", "read-only", "readonly")
    assert state_of(Home(home).analytics) == before
