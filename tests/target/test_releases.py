# SPDX-License-Identifier: MIT
"""Differences between releases of Debian: packages, mirrors, and a newly installed root."""

import pathlib
import re
import subprocess

import pytest
from conftest import ROOT


def call(*words: str | pathlib.Path, **more) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, **more)


# ---- tools/deps.sh ----------------------------------------------------------------------------

DEPS = (ROOT / "tools/deps.sh").read_text()


def test_this_debian_has_each_package() -> None:
    """Each package has the same name in each release, so the table needs no versions."""
    table = DEPS.split("table='")[1].split("'")[0]
    packages = sorted({line.split()[1] for line in table.splitlines() if line})
    assert len(packages) > 20
    if "Candidate" not in call("apt-cache", "policy", "gcc").stdout:
        pytest.skip("apt has no lists of packages: apt-get update")
    known = call("apt-cache", "policy", *packages).stdout
    found = re.findall(r"^(\S+):\n.*\n  Candidate: (?!\(none\))", known, re.M)
    assert sorted(found) == packages
    assert not [package for package in packages if re.search(r"-\d", package)]


@pytest.mark.parametrize(("file", "missing"), [("llvm-9/x.a", False), ("x.a", True)])
def test_a_file_may_be_a_pattern(tmp_path: pathlib.Path, file: str, missing: bool) -> None:
    (tmp_path / "llvm-9").mkdir()
    (tmp_path / file).touch()
    script = re.sub(r"(fuzz +\S+ +)\S+", rf"\g<1>{tmp_path}/llvm-*/x.a", DEPS)
    (tmp_path / "deps.sh").write_text(script)
    done = call("sh", tmp_path / "deps.sh", "fuzz", env={"NO_DEPS": "1"})
    assert done.returncode == missing
    assert ("deps: missing: libclang-rt-dev." in done.stderr) == missing


# ---- tools/mirror.sh --------------------------------------------------------------------------

SOURCES = {
    "one line": ("sources.list", "# deb http://no/debian x main\ndeb http://a.b/debian x main\n"),
    "options": ("sources.list.d/x.list", "deb [arch=amd64 x=y] http://a.b/debian/ sid main\n"),
    "fields": ("sources.list.d/x.sources", "Types: deb\nURIs: http://a.b/debian\nSuites: sid\n"),
}


@pytest.mark.parametrize("form", SOURCES)
def test_the_mirror_is_found(tmp_path: pathlib.Path, form: str) -> None:
    """The mirror is neither that of security updates nor that of another project."""
    file, text = SOURCES[form]
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/a.list").write_text(
        "deb http://a.b/debian-security x main\ndeb https://other/apt x main\n"
    )
    (tmp_path / file).write_text(text)
    assert call("tools/mirror.sh", tmp_path).stdout.strip().rstrip("/") == "http://a.b/debian"


def test_without_a_mirror_it_says_so(tmp_path: pathlib.Path) -> None:
    done = call("tools/mirror.sh", tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"mirror: the sources in {tmp_path} name no mirror of Debian; add one\n"


# ---- tools/fresh.sh ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "fresh: which release?: choose from bookworm trixie sid\n"),
        (["buster"], "fresh: buster: choose from bookworm trixie sid\n"),
        (["bookworm trixie"], "fresh: bookworm trixie: choose from bookworm trixie sid\n"),
    ],
)
def test_fresh_wants_a_release(words: list[str], message: str) -> None:
    done = call("tools/fresh.sh", *words)
    assert (done.returncode, done.stderr) == (1, message)


def test_fresh_wants_root() -> None:
    script = (ROOT / "tools/fresh.sh").read_text()  # that user may not be able to open the file
    done = call("setpriv", "--reuid=65534", "--clear-groups", "sh", "-s", "trixie", input=script)
    assert (done.returncode, done.stderr) == (1, "fresh: debootstrap and chroot need root\n")
