# SPDX-License-Identifier: MIT
"""The Bochs that a boot uses, and how a program of another Debian release is unpacked."""

import os
import pathlib
import subprocess

import pytest
from conftest import NEW, OTHER, OWN, ROOT, BootFixture, hello, listed, our_guests

from harness import emulator
from harness.boot import BOCHS_RELEASES, BUILD, Boot
from harness.errors import HarnessError


# ---- BOCHS= -----------------------------------------------------------------------------------


def test_each_version_is_what_it_says() -> None:
    """The installed Bochs is used if it has the requested version. Each Bochs has its own
    firmware."""
    installed = emulator.installed()
    assert emulator.find("") == emulator.find(installed.version) == installed
    assert installed.firmware(pathlib.Path("/usr/x")) == pathlib.Path("/usr/x")
    for version in {OWN, OTHER} - {installed.version}:
        found = emulator.find(version)
        assert found.version == version
        assert found.firmware(pathlib.Path("/usr/x")) == BUILD / "bochs" / version / "usr/x"


def test_a_version_that_no_debian_has_is_refused() -> None:
    with pytest.raises(HarnessError, match=r"BOCHS=2\.6: choose from 2\.7, 3\.0, 3\.1, or nothing"):
        Boot(name="x", bochs="2.6")


def test_the_environment_chooses_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOCHS", OTHER)
    assert Boot(name="x").bochs == OTHER
    assert Boot(name="x", bochs=OWN).bochs == OWN


@pytest.mark.parametrize(("version", "more"), [("2.7", "BOCHS=3.0 and BOCHS=3.1"), ("3.1", None)])
def test_a_model_that_it_lacks_is_refused(version: str, more: str | None) -> None:
    it = emulator.Emulator(("bochs-bin",), version, ("ryzen",), pathlib.Path("/"))
    it.require_model("ryzen")
    with pytest.raises(HarnessError) as error:
        it.require_model("arrow_lake")
    text = f"CPU=arrow_lake: Bochs {version} has no such model; `bochs-bin --help cpu` lists them"
    assert str(error.value) == text + (f"; {more} have more" if more else "")


def test_a_release_that_has_moved_on_is_noticed(monkeypatch, tmp_path: pathlib.Path) -> None:
    version = "3.0" if emulator.installed().version != "3.0" else "2.7"
    emulator.find(version)
    (tmp_path / "bochs").mkdir()
    (tmp_path / "bochs/3.9").symlink_to(BUILD / "bochs" / version)
    monkeypatch.setitem(BOCHS_RELEASES, "3.9", "forky")
    monkeypatch.setattr(emulator, "BUILD", tmp_path)
    with pytest.raises(HarnessError, match=rf"BOCHS=3\.9: Debian forky has Bochs {version} by now"):
        emulator.find("3.9")


def test_what_is_no_bochs_says_so(tmp_path: pathlib.Path) -> None:
    with pytest.raises(HarnessError, match=r"/echo does not print its version, but: --help"):
        emulator._ask(["/bin/echo"], tmp_path)


# ---- tools/unpack.sh --------------------------------------------------------------------------

# A replacement of apt-get that installs and downloads packages of the test.
APT = """#!/bin/sh
echo "$(grep SourceParts "$APT_CONFIG") $*" >>"$TESTDIR/apt.log"
for word; do case $word in
update) exit "${APT_UPDATE:-0}" ;;
install) cat "$TESTDIR/uris"; exit ;;
download) cp "$TESTDIR/debs/"*.deb . ; exit ;;
esac; done
"""


def make_package(folder: pathlib.Path, name: str, files: dict[str, str]) -> None:
    tree = folder / name
    for path, text in (files | {"DEBIAN/control": CONTROL.format(name)}).items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    subprocess.run(["dpkg-deb", "-b", tree, folder / f"{name}.deb"], check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip


CONTROL = "Package: {}\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n"
LOADER = "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"


@pytest.fixture
def apt(tmp_path: pathlib.Path):
    """unpack(PACKAGE..., VARIABLE=value) with that apt-get."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/apt-get").write_text(APT)
    (tmp_path / "bin/apt-get").chmod(0o755)
    (tmp_path / "debs").mkdir()
    make_package(tmp_path / "debs", "tool", {"usr/bin/tool": "it", "etc/tool": "no"})
    make_package(tmp_path / "debs", "libc6", {LOADER: "loader"})
    (tmp_path / "uris").write_text("".join(
        f"'http://x/{name}_1_all.deb' {name}_1_all.deb 1 SHA256:0\n"
        for name in ("libc6", "debconf", "libc-dev", "libx+1", "tool")
    ))  # fmt: skip

    def unpack(*packages: str, **env: str) -> subprocess.CompletedProcess[str]:
        words = [ROOT / "tools/unpack.sh", "trixie", tmp_path / "out", "tool", *packages]
        path = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "TESTDIR": str(tmp_path)}
        return subprocess.run(words, env=path | env, capture_output=True, text=True, check=False)

    return unpack


def test_unpack_takes_libraries_and_what_is_named(apt, tmp_path: pathlib.Path) -> None:
    done = apt("tool")
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    loader, option, folders, program = done.stdout.split()
    assert (loader, option, program) == (f"{out}/{LOADER}", "--library-path", f"{out}/usr/bin/tool")
    assert f"{out}/lib/x86_64-linux-gnu" in folders.split(":")
    assert (out / "usr/bin/tool").read_text() == "it"
    assert sorted(path.name for path in out.iterdir()) == ["usr"], "nothing but what runs"
    calls = (tmp_path / "apt.log").read_text().splitlines()
    assert calls[-1].endswith("download libc6 libx+1 tool")
    assert all('Dir::Etc::SourceParts "/dev/null";' in call for call in calls), "apt's own sources"
    # The second time, nothing is downloaded.
    assert apt("tool").stdout == done.stdout
    assert (tmp_path / "apt.log").read_text().splitlines() == calls


def test_unpack_says_what_is_wrong(apt, tmp_path: pathlib.Path) -> None:
    done = apt("tool", NO_DEPS="1")
    assert done.returncode == 1
    what = "unpack: tool of Debian trixie: "
    assert done.stderr == f"{what}not installed, and NO_DEPS forbids to download it\n"
    assert not (tmp_path / "apt.log").exists()
    done = apt("tool", APT_UPDATE="100")
    assert done.returncode == 1
    assert done.stderr.endswith(f"{what}apt-get update failed\n")
    (tmp_path / "uris").write_text("")
    done = apt("nonesuch")
    assert done.returncode == 1
    assert done.stderr.endswith(f"{what}apt finds no such packages: nonesuch\n")
    assert not (tmp_path / "out").exists(), "half of it was left behind"


# ---- The other emulator, and new models -------------------------------------------------------

# test_budget.py checks the budget on both, and test_nested.py runs both nested in KVM.


@pytest.mark.parametrize("method", ["optrom", "grub-bios"])
def test_boots_on_the_other_one(boot: BootFixture, method: str) -> None:
    """By UEFI, it boots the image of `make image` (test_image.py)."""
    result = boot(bochs=OTHER, method=method, guests=(hello(),))
    assert result.status == 0, result
    assert f"Emulator {OTHER}" in (result.run.boot.folder / "bochs.log").read_text(errors="replace")


def test_the_guests_of_make_run_pass_on_the_other_one(boot: BootFixture) -> None:
    guests = listed("run-guests")
    assert {"scenarios", "bench", "forbidden_triple_fault"} <= {guest.name for guest in guests}
    result = boot(bochs=OTHER, guests=guests)
    assert result.status == 0, result


def test_several_cpus_on_the_other_one(boot: BootFixture) -> None:
    guests = listed("smp-guests")
    assert len(guests) >= 7
    result = boot(bochs=OTHER, guests=guests, smp=4, cmdline="parallel=1")
    assert result.status == 0, result
    assert result.cpus()["flushes"] > 100, result


@pytest.mark.parametrize("cpu", ["sapphire_rapids", "arrow_lake"])
def test_new_models_run_everything(boot: BootFixture, cpu: str) -> None:
    result = boot(bochs=NEW, cpu=cpu, guests=our_guests())
    assert result.status == 0, result
