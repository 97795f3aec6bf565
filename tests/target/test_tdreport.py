# SPDX-License-Identifier: MIT
"""TDREPORTs and quotes: tools/tdreport.py finds what is wrong in one, and the reports of a TD are
what it computes from the TD's files; tools/tdquote.py verifies a TD's quotes."""

import pathlib
import subprocess
import sys

import pytest
from conftest import BUILD, ROOT, need_made
from harness.boot import Guest

import tdquote
import tdreport

PROGRAM = BUILD / "guest" / "td_report.elf"
HASHES = ("TEE_TCB_INFO_HASH", "TEE_INFO_HASH")
EXTENSION = ("--rtmr", "3", "33" * 48)  # what the program extends RTMR 3 by


# ---- The tool, without a machine ---------------------------------------------------------------


def report(**fields: bytes) -> bytes:
    """Returns a valid report in which the given fields are replaced."""
    content = bytearray(tdreport.SIZE)

    def fill(values: dict[str, bytes]) -> None:
        for name, value in values.items():
            offset, size = tdreport.FIELDS[name]
            content[offset : offset + size] = value.ljust(size, b"\0")

    fill({"REPORTDATA": b"data", "MAC": b"mac", "ATTRIBUTES": b"\0\0\0\x10", "XFAM": b"\xe7",
          "MRTD": b"mrtd", "RTMR1": b"rtmr"})  # fmt: skip
    fill(tdreport.always(bytes(content)))
    fill(fields)
    hashes = tdreport.always(bytes(content))
    fill({name: hashes[name] for name in HASHES if name not in fields})
    return bytes(content)


def run(content: bytes, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The tool's answer to a report on its standard input."""
    command = [sys.executable, str(ROOT / "tools/tdreport.py"), "-", *arguments]
    result = subprocess.run(command, input=content, capture_output=True, check=False)
    return subprocess.CompletedProcess(command, result.returncode, result.stdout.decode(),
                                       result.stderr.decode())  # fmt: skip


def wrong(result: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in result.stdout.splitlines() if line.startswith("WRONG")]


def test_the_fields_cover_the_report() -> None:
    end = 0
    for offset, size in tdreport.FIELDS.values():
        assert offset == end
        end = offset + size
    assert end == tdreport.SIZE


def hexdump(content: bytes, width: int, prefix: str = "", gap: str = "") -> bytes:
    rows = [content[i : i + width] for i in range(0, len(content), width)]
    return "\n".join(prefix + (row.hex(gap) if gap else row.hex()) for row in rows).encode()


@pytest.mark.parametrize(
    "content",
    [
        report(),
        hexdump(report(), 1024),
        hexdump(report(), 30, "[    3.141592] "),
        hexdump(report(), 16, "linux> ", " "),
        hexdump(report(), 64, "# report "),
        b"before\n" + hexdump(report(), 64, "    # ") + b"\nafter\n",
        hexdump(report(MRTD=b"of before"), 32) + b"\n\n" + hexdump(report(), 32),
    ],
    ids=["binary", "one line", "dmesg", "console", "name", "KTAP", "the last of two"],
)
def test_forms_of_a_report(content: bytes) -> None:
    result = run(content)
    assert result.returncode == 0, result
    assert "MRTD                       6d727464" in result.stdout
    assert 'TEE_TCB_INFO.MRSEAM        "eptvisor, which is not' in result.stdout
    assert "ATTRIBUTES                 0x10000000 (SEPT_VE_DISABLE)" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("OK: its hashes and constant fields are right")


@pytest.mark.parametrize("name", [n for n in tdreport.FIELDS if n in tdreport.always(bytes(1024))])
def test_a_wrong_field_is_named(name: str) -> None:
    result = run(report(**{name: b"\x81\x01"}))
    assert result.returncode == 1, result
    (line,) = wrong(result)
    assert line.startswith(f"WRONG: {name} is ") and ", should be " in line


def test_a_change_after_the_fact() -> None:
    """The hash detects the change, although the field could have any value."""
    changed = bytearray(report())
    changed[tdreport.FIELDS["XFAM"][0]] ^= 0x80
    (line,) = wrong(run(bytes(changed)))
    assert line.startswith("WRONG: TEE_INFO_HASH is ")


def test_the_data_of_the_td() -> None:
    assert run(report(), "--data", b"data".hex()).returncode == 0
    (line,) = wrong(run(report(), "--data", "00"))
    assert line.startswith("WRONG: REPORTDATA is 64617461") and line.endswith("should be zero")


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (b"", (), "there are no 1024 bytes of a TDREPORT"),
        (report()[:-1], (), "the file has 1023 bytes"),
        (hexdump(report()[:-2], 32), (), "are this many bytes: 1022"),
        (report(), ("kernel",), "tdreport.py REPORT [FILE STRING]..."),
        (report(), ("--rtmr", "4", "00"), "tdreport.py REPORT [FILE STRING]..."),
        (report(), ("--rtmr", "3", "00"), "give the modules"),
        (report(), ("/nowhere", "kernel tdx"), "/nowhere: No such file"),
        (report(), (str(ROOT / "README.md"), "kernel tdx"), "not an ELF file, nor a bzImage"),
        (report(), (str(PROGRAM), "td_report"), "it is no TD without the word tdx"),
        (report(), (str(PROGRAM), "td_report tdx=maybe"), "tdx"),
    ],
)
def test_what_cannot_be_said(content: bytes, arguments: tuple[str, ...], message: str) -> None:
    need_made("build/tdimage")
    result = run(content, *arguments)
    assert result.returncode == 2, result
    assert message in result.stderr and not wrong(result)


# ---- The machine -------------------------------------------------------------------------------


def printed(result, vm: str, what: str) -> bytes:
    """The bytes that the program has printed below a heading."""
    lines = [line.strip() for line in result.lines]
    begin = lines.index("# " + what, next(i for i, line in enumerate(lines)
                                          if line.startswith(f"# {vm}: ") and "MiB" in line))
    digits = ""
    for line in lines[begin + 1 :]:
        if not line.startswith("# ") or ":" in line:
            break
        digits += line[2:]
    return bytes.fromhex(digits)


def modules(vm: Guest) -> tuple[str, str]:
    return str(vm.path), vm.string


VMS = (
    Guest(PROGRAM, ("tdx", "quote=test", "budget=60000")),
    Guest(PROGRAM, ("tdx=debug", "vcpus=2", "mem=40M", "budget=60000"), "with arguments", "debug"),
    Guest(PROGRAM, ("tdx", "measure=0", "budget=60000"), name="unmeasured"),
)


@pytest.mark.parametrize("vm", VMS, ids=lambda vm: vm.name)
def test_reports_are_what_the_files_say(boot, vm: Guest) -> None:
    need_made("build/tdimage")
    result = boot(guests=VMS)
    assert result.status == 0 and result.passed(vm.name), result
    content = printed(result, vm.name, "TDREPORT")
    data = bytes(range(1, 65)).hex()
    answer = run(content, "--data", data, *EXTENSION, *modules(vm))
    assert answer.returncode == 0, answer
    assert "OK: MRTD, RTMRs and attributes are those of the files" in answer.stdout
    measured = vm.name != "unmeasured"
    assert result.has(f"# {vm.name}: MRTD {content[528:576].hex()}") == measured
    assert result.has(f"# {vm.name}: RTMR1 {content[768:816].hex()}") == measured
    assert any(content[720:864]) == measured


def test_another_command_line_is_noticed(boot) -> None:
    need_made("build/tdimage")
    result = boot(guests=VMS)
    vm = VMS[1]
    content = printed(result, vm.name, "TDREPORT")
    lines = wrong(run(content, *EXTENSION, str(vm.path), vm.string.replace("with", "mith")))
    assert [line.split()[1] for line in lines] == ["RTMR2"]
    lines = wrong(run(content, *EXTENSION, str(vm.path), vm.string + "!"))
    assert [line.split()[1] for line in lines] == ["MRTD", "RTMR2"]
    lines = wrong(run(content, str(vm.path), vm.string))
    assert [line.split()[1] for line in lines] == ["RTMR3"]
    lines = wrong(run(content, *EXTENSION, str(vm.path), vm.string.replace("=debug", "")))
    assert [line.split()[1] for line in lines] == ["ATTRIBUTES"]


def test_a_quote_of_the_test_key(boot, tmp_path: pathlib.Path) -> None:
    result = boot(guests=VMS)
    quote = printed(result, "td_report", "QUOTE")
    content = printed(result, "td_report", "TDREPORT")
    assert not tdquote.complaints(quote, content)
    (tmp_path / "quote").write_bytes(quote)
    (tmp_path / "report").write_bytes(content)
    command = [str(ROOT / "tools/tdquote.py"), str(tmp_path / "quote"), "--report",
               str(tmp_path / "report")]  # fmt: skip
    assert subprocess.run(command, check=False).returncode == 0
    (tmp_path / "report").write_bytes(report())
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 1 and "its body is not that of the report" in answer.stdout


def test_without_the_word_there_is_no_quote(boot) -> None:
    result = boot(guests=VMS)
    (case,) = [case for case in result.output.cases if case.path == "debug/a_quote"]
    assert case.counters["unavailable"] == 1


def test_a_report_to_nowhere_ends_the_td(boot) -> None:
    result = boot(guests=(Guest(PROGRAM, ("tdx", "expect=memory-fault"), "hole", "hole"),))
    assert result.status == 0, result
    assert result.has("there is no private memory outside of RAM.*private write at GPA 0xfed00000")


def test_each_boot_has_a_key(boot) -> None:
    """The MACs of equal reports differ, where the machine has randomness: not in Bochs, whose
    RDSEED begins with the clock's second."""
    result = boot(guests=VMS)
    assert result.has(r"tdx: the key of this boot's reports is made of RD(SEED|RAND) and the TSC")
