# SPDX-License-Identifier: MIT
"""Debian's stock kernel as a TDX guest: it starts, finds that it is one, and uses what that brings.

The kernel is that of Debian 13, unchanged; tools/linux/tdx is what runs in it.
"""

import kallsyms
import pytest
import tdquote
import tdreport
from conftest import ROOT, need_made
from harness import debian
from harness.boot import Guest
from test_linux import Typist
from test_tdreport import modules, printed, run


@pytest.fixture(scope="module", autouse=True)
def kernel() -> None:
    """The kernel is downloaded by apt. Without it, the tests of this file cannot run."""
    need_made("tdx-files")


def start(boot, guests: tuple[Guest, ...], vcpus: int, mem: int = debian.MEM, **fields):
    return boot(guests=guests, mem=debian.machine_memory(mem, guests), smp=vcpus,
                cmdline=debian.TDX_WORDS, ips=debian.IPS, **fields)  # fmt: skip


def checks(vcpus: int, more: str = "", words: tuple[str, ...] = ("measure=0",), **fields):
    """The modules of a TD that runs tools/linux/tdx and then ends."""
    line = f"{debian.TDX_CMDLINE} tdx cpus={vcpus} {more}"
    return debian.tdx_guests(cmdline=line, vcpus=vcpus, words=words, **fields)


def disk(path) -> Guest:
    path.write_bytes(bytes(4 << 20))
    return Guest(path, ("disk",), "", "+disk")


def test_the_bzimage_on_one_vcpu(boot, tmp_path) -> None:
    """The file as Debian ships it, with a disk. The TDREPORT and the quote that Linux' drivers hand
    out are what the host computes from the files, with what the boot shim has measured."""
    need_made("build/tdimage")
    words = ("quote=test",)
    guests = (*checks(1, "disk=1 quote=1", words=words), disk(tmp_path / "disk"))
    result = start(boot, guests, 1)
    assert result.status == 0, result
    assert len(result.output.cases) >= 14, result
    assert result.has("reboot: Power down"), result
    report = printed(result, "linux", "TDREPORT")
    files = [text for guest in guests for text in modules(guest)]
    answer = run(report, *files)
    assert answer.returncode == 0, answer
    assert "OK: MRTD, RTMRs and attributes are those of the files" in answer.stdout, answer
    assert all(any(tdreport.field(report, f"RTMR{i}")) for i in range(3)), result
    assert not tdquote.complaints(printed(result, "linux", "QUOTE"), report), result


def test_two_vcpus_and_unaccepted_memory(boot) -> None:
    """The second vCPU is started by the mailbox of the boot shim, which leaves most memory to the
    kernel. The kernel finds that out from EFI tables. It is the one in the bzImage, without its
    decompressor."""
    words = ("accept=lazy", "measure=0")
    guests = checks(2, "efi=noruntime lazy=1", words=words, kernel=debian.TDX_VMLINUX)
    result = start(boot, guests, 2)
    assert result.status == 0, result
    assert len(result.output.cases) >= 12, result
    assert result.passed("unaccepted"), result


def test_a_network_between_a_td_and_a_vm(boot) -> None:
    """The TD and the VM ping each other and copy a file there and back, through the TD's bounce
    buffers."""
    guests = ()
    for side, make in ((1, debian.tdx_guests), (2, debian.guests)):
        line = f"{debian.TDX_CMDLINE} net side={side}"
        words = ("net", "measure=0") if side == 1 else ("net",)
        guests += make(kernel=debian.TDX_VMLINUX, cmdline=line, mem=128, words=words,
                       initrd=debian.make_tdx_initrd(), name=f"side{side}")  # fmt: skip
    result = start(boot, guests, 2)
    assert result.status == 0, result
    assert sum(case.leaf for case in result.output.cases) == 14, result


def test_the_session_in_the_readme() -> None:
    """Types each line that follows a prompt, and expects the output that the README shows below
    it."""
    from test_docs import assert_shows, blocks  # which reads the README; mutants have none

    (session,) = [block for block in blocks(ROOT / "README.md") if block[0].startswith("/ # ")]
    steps: list[list[str]] = []
    for line in session:
        if line.startswith("/ # "):
            steps.append([line.removeprefix("/ # ")])
        else:
            steps[-1].append(line)
    options = {"NAME": "tdx-console", "VCPUS": "2", "WORDS": "measure=0"}
    with Typist("tdx", **options) as person:
        person.wait_for(b"/ # ")
        for command, *shown in steps[:-1]:
            person.type(f"{command}\n".encode())
            printed = person.wait_for(b"/ # ").decode()
            assert_shows(shown, printed.replace("\r", ""))
        person.type(f"{steps[-1][0]}\n".encode())
        person.wait_for(steps[-1][-1].encode())
        assert person.process.wait(60) == 0


def test_the_symbols_of_a_newer_kernel() -> None:
    """Its tables have another form than those of Debian 12's kernel (test_linux.py)."""
    symbols = kallsyms.Tables(debian.TDX_VMLINUX.read_bytes()).symbols()
    addresses = {name: address for address, name in symbols}
    assert addresses["_text"] == 0xFFFFFFFF81000000
    order = ["_text", "do_sys_openat2", "_etext", "init_task"]
    assert sorted(order, key=addresses.get) == order
