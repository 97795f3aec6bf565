# SPDX-License-Identifier: MIT
"""Debian's stock kernel as a guest: it starts, finds its machine in order, and turns it off."""

import os
import subprocess

import pytest
from conftest import CODES, ROOT, need_made
from harness import debian, terminal


@pytest.fixture(scope="module", autouse=True)
def kernel() -> None:
    """The kernel is downloaded by apt. Without it, the tests of this file cannot run."""
    need_made("linux-files")


def start(boot, vcpus: int, cmdline: str = "", **fields):
    line = f"{debian.CMDLINE} {cmdline} check cpus={vcpus}"
    guests = debian.guests(cmdline=line, vcpus=vcpus, **fields)
    return boot(guests=guests, mem=debian.machine_memory(debian.MEM, guests), smp=vcpus,
                ips=debian.IPS, timeout=180)  # fmt: skip


@pytest.mark.parametrize("vcpus", [1, 2])
def test_the_cloud_kernel(boot, vcpus: int) -> None:
    result = start(boot, vcpus)
    assert result.status == 0, result
    assert len(result.output.cases) >= 8, result
    assert result.has("ACPI sleep state|reboot: Power down"), result


def test_two_vms_with_a_network(boot) -> None:
    """They ping each other and copy a file there and back."""
    guests = ()
    for side in (1, 2):
        line = f"{debian.CMDLINE} net side={side}"
        guests += debian.guests(cmdline=line, mem=96, words=("net",), name=f"side{side}")
    result = boot(guests=guests, mem=debian.machine_memory(2 * 96, guests), smp=2, ips=debian.IPS,
                  timeout=300)  # fmt: skip
    assert result.status == 0, result
    assert sum(case.leaf for case in result.output.cases) == 12, result


class Typist:
    """Somebody at the terminal of `make linux`, who waits for a text before the next is typed."""

    def __init__(self) -> None:
        self.seen = b""
        self.process = subprocess.Popen(["make", "linux"], cwd=ROOT, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)  # fmt: skip

    def wait_for(self, text: bytes) -> None:
        while text not in self.seen:
            data = os.read(self.process.stdout.fileno(), 4096)
            assert data, self.seen
            self.seen += data
        self.seen = self.seen.partition(text)[2]

    def type(self, text: bytes) -> None:
        self.process.stdin.write(text)
        self.process.stdin.flush()


def test_somebody_at_the_console() -> None:
    """The prompt is there without a newline, keys arrive, and ^C is the guest's."""
    person = Typist()
    try:
        person.wait_for(b"/ # ")
        person.type(b"echo result-$((6 * 7))\n")
        person.wait_for(b"result-42")
        person.wait_for(b"/ # ")
        person.type(b"echo sleeping; sleep 100000\n")
        person.wait_for(b"\nsleeping")
        person.type(b"\x03")
        person.wait_for(b"/ # ")
        person.type(b"poweroff -f\n")
        person.wait_for(b"EXIT 0 ok")
        assert person.process.wait(60) == 0
    finally:
        person.process.terminate()
        person.process.wait()


def test_the_escape_key() -> None:
    """^A x ends the machine, ^A ^A is one ^A, and nothing else is taken from the guest."""
    keys = terminal.Keys()
    assert keys.feed(b"a\x03b") == b"a\x03b"
    assert keys.feed(b"\x01") == b""
    assert keys.feed(b"\x01x") == b"\x01x"
    assert keys.feed(b"\x01?\x01") == b"?"
    assert keys.feed(b"x") is None


def test_a_kernel_without_room(boot) -> None:
    guests = debian.guests(mem=32)
    result = boot(guests=guests, mem=debian.machine_memory(32, guests))
    assert result.exit == CODES.GUEST_TOO_LARGE, result
    assert result.has(r"linux: no room for its kernel, which needs \d+ bytes from 0x\w+ on")


def test_a_kernel_that_is_cut_off(boot, tmp_path) -> None:
    short = tmp_path / "vmlinuz"
    short.write_bytes(debian.KERNEL.read_bytes()[:-4096])
    result = boot(guests=debian.guests(kernel=short), mem=448)
    assert result.exit == CODES.MODULE_TRUNCATED, result
    assert result.has("linux: its kernel needs "), result
