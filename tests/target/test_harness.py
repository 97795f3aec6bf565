# SPDX-License-Identifier: MIT
"""Tests of the harness itself: a run passes only if everything that it printed says so."""

import dataclasses
import os
import pathlib
import re
import subprocess

import pytest
from conftest import BOOTINFO, BUILD, ROOT

from harness import bochs, payload, qemu, serial, session
from harness.boot import BOCHS_LOW, MACHINES, Boot, Guest, parse_guests
from harness.errors import HarnessError, Status
from harness.grub import make_cd

GOOD = """\
before| WARN: what a boot says that was reset
before| not ok 1 first
before| EXIT 2 panic
ok 1 first # exits=12 value=0x10
    1..2
    ok 1 inner
    ok 2 other # SKIP no PML
    BENCH cpuid 123 instructions
    WARN: a guest may say what it likes
ok 2 second
BENCH cpuid 1 instruction
2 passed, 0 failed, 1 skipped
EXIT 0 ok
"""


def test_good_output_is_understood() -> None:
    out = serial.parse(GOOD)
    assert serial.contradictions(out) == []
    assert serial.verdict(out) == Status.OK
    assert out.cases[0].counters == {"exits": 12, "value": 16}
    assert [case.path for case in out.cases] == ["first", "second/inner", "second/other", "second"]
    assert out.bench == {"cpuid": (123.0, "instructions")}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ok 2 second", "not ok 2 second", "a test failed: second"),
        ("    ok 1 inner", "    not ok 1 inner", "a test failed: second/inner"),
        ("0 failed", "1 failed", "the summary says 1 failed"),
        ("ok 1 f", "WARN flush owed at vmx/x.c:3\nok 1 f", "a warning was printed: WARN flush"),
        ("2 passed, 0 failed, 1 skipped\n", "", "no line `N passed"),
        ("    ok 1 inner\n", "", "second: 2 tests announced, 1 results printed"),
        ("2 passed", "3 passed", "the summary says 3 passed"),
        ("1 skipped", "0 skipped", "0 skipped"),
        ("EXIT 0 ok\n", "EXIT 0 ok\nstill here\n", "text after the EXIT line: still here"),
    ],
)
def test_contradiction_fails(old: str, new: str, message: str) -> None:
    assert old in GOOD
    out = serial.parse(GOOD.replace(old, new))
    assert message in "; ".join(serial.contradictions(out))
    assert serial.verdict(out) == Status.DISAGREES


def test_a_vm_that_was_reset_announces_its_tests_again() -> None:
    life = "    1..2\n    ok 1 inner\n"
    end = "    ok 2 other # SKIP no PML\n"
    assert life + end in GOOD
    again = GOOD.replace(life, 3 * life).replace("2 passed", "4 passed")
    assert serial.contradictions(serial.parse(again)) == []
    cut = serial.parse(again.replace(end, ""))
    assert "second: 4 tests announced, 3 results printed" in serial.contradictions(cut)


def test_exit_code_of_the_image_is_the_status() -> None:
    assert serial.verdict(serial.parse("no VMX here\nEXIT 10 no-vmx\n")) == 10


def test_firmware_noise_is_stripped() -> None:
    out = serial.parse("\x1b[2J\x1b[01;01HBdsDxe: starting\r\n\x1b[0mEXIT 2 panic\r\n")
    assert (out.exit_code, out.exit_name) == (2, "panic")


def test_last_test_is_named() -> None:
    assert serial.parse("# Subtest: mmio\n").last_test == "in mmio"
    assert serial.parse("ok 4 slots # a=1\n    spins\n").last_test == "after slots"
    assert serial.parse("eptvisor: x\n").last_test == "before the first test"
    assert serial.parse("").last_test == "before anything was printed"


def run_py(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Starts tools/run.py as a user does."""
    return subprocess.run(
        ["/usr/bin/python3", "tools/run.py", *args], cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "NAME": "harness-run-py"} | env, capture_output=True,
        text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"MACHINE": "vax"}, "MACHINE=vax: choose from bochs"),
        ({"METHOD": "tape"}, "METHOD=tape: choose from optrom"),
        ({"MACHINE": "bochs", "METHOD": "kernel"}, "METHOD=kernel is QEMU's"),
        ({"MACHINE": "qemu-tcg", "METHOD": "optrom"}, "METHOD=optrom is Bochs'"),
        ({"GUESTS": "/nowhere/x.elf"}, "/nowhere/x.elf: no such file"),
        ({"GUESTS": "'x.elf"}, "GUESTS='x.elf: No closing quotation; quote its items as in a sh"),
        ({"SMP": "0"}, "SMP=0 is not a number of at least 1"),
        ({"MACHINE": "bochs", "SMP": "16"}, "Bochs has at most 15 CPUs, not 16: choose a small"),
        ({"MACHINE": "bochs", "MEM": "1048576"}, "MEM=1048576: Bochs has less than 1 TiB"),
        ({"MEM": "1G"}, "MEM=1G is not a number of at least 1"),
        ({"TIMEOUT": "-1"}, "TIMEOUT=-1 is not a number of at least 1"),
        ({"BAUD": "²"}, "BAUD=² is not a number of at least 1"),
        ({"NAME": "../.."}, "NAME=../..: give the name of a folder below build/run/"),
        ({"NAME": "."}, "NAME=.: give the name of a folder below build/run/"),
        ({"MACHINE": "bochs", "METHOD": "optrom", "MEM": "2"}, "MEM=2: the image"),
    ],
)
def test_bad_request_is_refused_with_a_message(env: dict[str, str], message: str) -> None:
    done = run_py(**env)
    assert done.returncode == Status.NOT_STARTED
    assert done.stderr.startswith("run: ") and message in done.stderr
    assert len(done.stderr.splitlines()) == 1


NO_PROGRAM = ["make", "build/guest/nobody.elf"]
IN_PYTHON = f"import os; os.execvp('make', {NO_PROGRAM})"
OUTER = ["make", "-s", "-j2", f'--eval=inner: ; @$(PYTHON) -c "{IN_PYTHON}"', "inner"]


@pytest.mark.parametrize("command", [NO_PROGRAM, OUTER], ids=["alone", "in make -j"])
def test_a_guest_that_does_not_exist_is_named(command: list[str]) -> None:
    """The make that a tool or a test starts says nothing of the job server of an outer one."""
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
    assert done.returncode and not done.stdout
    assert done.stderr.startswith("GUEST=nobody: guest/programs/ has no such program; docs/ABI.md ")


def test_run_streams_and_returns_the_status() -> None:
    done = run_py(MACHINE="bochs", METHOD="optrom", CMDLINE="no_such_word")
    assert done.returncode == 15
    assert done.stdout.splitlines()[-1] == "EXIT 15 bad-command-line"
    assert "the logs are in" in done.stderr


STOPPED = (r"after memory beyond the file is clear; the machine had come to ([\d.]+) s of its own "
           r"time \(([\d,]+) million instructions of each CPU\), with CPU 0 at 0x[0-9a-f]+; its "
           r"last output is ([\d.]+) s of CPU time old$")  # fmt: skip


def test_what_bochs_says_of_every_boot_is_no_complaint(tmp_path: pathlib.Path) -> None:
    (tmp_path / "bochs.log").write_text(
        "00000000000i[      ] Bochs x86 Emulator 2.7\n"
        "00012920000e[CPU0  ] WRMSR: Unknown register 0x8b\n"
        "00012930000e[CPU0  ] RDMSR: Unknown register 0xce\n"
        "00012940000e[CPU1  ] RDMSR: Unknown register 0xce1\n"
        "00013000000e[CPU0  ] VMEXIT: EPT misconfig for guest paddr 0xfe000000 laddr 0xfe000000\n"
        "00013000010e[CPU0  ] #DB: Code/Data breakpoint hit - report debug trap\n"
        "00013000020p[CPU1  ] >>PANIC<< EPT violation, and no more\n"
    )
    assert bochs.complaints(tmp_path) == [
        "CPU1: RDMSR: Unknown register 0xce1", "CPU1: >>PANIC<< EPT violation, and no more"
    ]  # fmt: skip


def test_a_hang_is_a_timeout(bootinfo) -> None:
    result = bootinfo(cmdline="hang", timeout=2)
    assert result.status == Status.TIMED_OUT
    found = re.search(r"^no EXIT line after (?:20 s, and less than )?2 s of CPU time, " + STOPPED,
                      result.reason)  # fmt: skip
    assert found, result.reason
    assert float(found[1]) > 0.5 and 0 < float(found[3]) <= 2.5, result.reason
    assert int(found[2].replace(",", "")) == pytest.approx(float(found[1]) * bochs.IPS / 1e6, abs=1)


@pytest.mark.parametrize("ips", [0, 20_000_000])
def test_a_machine_has_no_more_than_its_own_time(bootinfo, ips: int) -> None:
    """However long that takes. A guest that ends before is not stopped."""
    result = bootinfo(cmdline="hang", machine_time=1.5, ips=ips)
    assert result.status == Status.TIMED_OUT
    found = re.search(r"^no EXIT line after 1\.5 s of the machine's own time, " + STOPPED,
                      result.reason)  # fmt: skip
    assert found and float(found[1]) == 1.5, result.reason
    assert int(found[2]) == 1.5 * (ips or bochs.IPS) / 1e6, result.reason
    assert bootinfo(machine_time=1.5, ips=ips).status == Status.OK


def test_a_machine_s_own_time_is_read_from_the_emulator(tmp_path, monkeypatch) -> None:
    """It is the product of the last two numbers, in units of ips."""
    monkeypatch.setattr("harness.boot.BUILD", tmp_path)
    boot = Boot(name="x", ips=50_000_000, serial_port=1)
    boot.folder.mkdir(parents=True)
    said = boot.folder / "emulator.txt"
    for text, seconds in (
        ("Bochs x86 Emulator 2.7\n", 0),
        ("IPS: 60000000\taverage = 60000000\t\t(1s)\n", 1.2),
        ("IPS: 60000000\taverage = 60000000\t\t(1s)\n" * 9
         + "IPS: 40000000\taverage = 50000000\t\t(11s)\nIPS: 4", 11),
    ):  # fmt: skip
        said.write_text(text)
        assert bochs.machine_time(boot) == pytest.approx(seconds)


def test_a_death_without_exit_line_is_noticed(bootinfo) -> None:
    result = bootinfo(cmdline="die")
    assert result.status == Status.DIED
    assert "without an EXIT line, after memory beyond the file is clear" in result.reason


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path):
    """fake(SCRIPT) boots an emulator that is this shell script, and returns how often it was
    started. In the script, $1 is a file that exists from one start to the next."""

    def run(script: str, timeout: float = 20) -> tuple[session.Run, int]:
        (tmp_path / "script").write_text(f"echo >>{tmp_path}/starts\n{script}\n")
        command = ["sh", str(tmp_path / "script"), str(tmp_path / "file")]
        monkeypatch.setattr(bochs, "prepare", lambda boot: command)
        done = session.run(Boot(name="harness-fake", timeout=timeout))
        return done, (tmp_path / "starts").read_text().count("\n")

    return run


def test_an_emulator_that_crashes_before_we_run_is_started_once_more(fake) -> None:
    script = f"[ -e $1 ] || {{ >$1; kill -SEGV $$; }}; cat >serial.txt <<'END'\n{GOOD}END"
    with pytest.warns(session.EmulatorCrashed) as warned:
        done, starts = fake(script)
    assert (done.status, done.reason, starts) == (Status.OK, "", 2)
    message = ("harness-fake: the emulator ended (signal 11) without an EXIT line, before "
                "anything was printed; it was started once more")  # fmt: skip
    assert [str(warning.message) for warning in warned] == [f"{BUILD}/run/{message}"]


def test_an_emulator_that_always_crashes_fails(fake) -> None:
    with pytest.warns(session.EmulatorCrashed):
        done, starts = fake("kill -ABRT $$")
    assert (done.status, starts) == (Status.DIED, 2)
    assert done.reason.startswith("the emulator ended (signal 6) without an EXIT line")


@pytest.mark.parametrize(
    ("script", "how"),
    [
        ("echo eptvisor: x >serial.txt; kill -SEGV $$", "signal 11"),  # we have run
        ("printf x >serial.txt; kill -SEGV $$", "signal 11"),
        ("kill -TERM $$", "signal 15"),  # somebody has ended it
        ("exit 1", "status 1"),
    ],
)
def test_no_other_end_is_tried_again(fake, recwarn, script: str, how: str) -> None:
    done, starts = fake(script)
    assert (done.status, starts) == (Status.DIED, 1)
    assert f"the emulator ended ({how})" in done.reason
    assert not recwarn.list


def test_time_that_others_take_does_not_count(fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """An emulator that sleeps is treated as one that waits for the CPU. One that works runs into
    its time-out."""
    monkeypatch.setattr(session, "CLOCK", 40)
    good = f"cat >serial.txt <<'END'\n{GOOD}END"
    done, _ = fake(f"sleep 0.5; {good}", timeout=0.05)
    assert done.status == Status.OK
    done, _ = fake("sleep 9", timeout=0.02)
    assert done.status == Status.TIMED_OUT
    assert done.reason.startswith("no EXIT line after 0.8 s, and less than 0.02 s of CPU time, bef")
    done, _ = fake("while :; do :; done", timeout=0.3)
    assert done.reason.startswith("no EXIT line after 0.3 s of CPU time, before anything")


def test_wrong_images_are_refused(tmp_path: pathlib.Path) -> None:
    image = BOOTINFO.read_bytes()
    header = image.index((0xE85250D6).to_bytes(4, "little"))
    broken = bytearray(image)
    broken[header + 12] ^= 1
    for data, message in [
        (b"", "not an ELF file"),
        (b"MZ" + image[2:], "not an ELF file"),
        (image[:40], "cut short"),
        (image[:4200], "reaches beyond the file"),
        (bytes(broken), "no multiboot2 header"),
    ]:
        path = tmp_path / "image"
        path.write_bytes(data)
        with pytest.raises(HarnessError, match=message):
            payload.make_disk(Boot(name="x", image=path), bytes(2560))


@pytest.mark.parametrize(("version", "blocks"), [("2.7", ""), ("3.0", ", block_size=2048")])
@pytest.mark.parametrize(
    ("mem", "installed"), [(2048, "guest=2048, host=2048"), (3072, "guest=3072, host=2048"),
                           (3073, "guest=4097, host=2048"), (65536, "guest=66560, host=2048")]
)  # fmt: skip
def test_a_machine_has_all_its_ram(mem: int, installed: str, version: str, blocks: str) -> None:
    """Bochs loses what PCI's addresses hide. The image and the modules need RAM below those. From
    3.0 on, large RAM is divided into large blocks."""
    boot = Boot(name="ram", method="grub-bios", image=BOOTINFO, mem=mem)
    emulator = dataclasses.replace(bochs.emulator.find(""), version=version)
    expected = f"memory: {installed}{blocks if mem > BOCHS_LOW else ''}"
    assert expected in bochs._settings(boot, emulator)


def test_modules_lie_below_the_addresses_of_pci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload, "BOCHS_LOW", 2)
    cases = {1: "give the machine more", 2: "end at 1 MiB, because the firmware .* above them$"}
    for mem, advice in cases.items():
        with pytest.raises(HarnessError, match=f"MEM={mem}: .* reach to .*{advice}"):
            payload.make_disk(Boot(name="x", image=BOOTINFO, mem=mem), bytes(2560))


def test_grub_says_what_it_could_not_load(boot, tmp_path: pathlib.Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(BOOTINFO.read_bytes().replace(b"\xd6\x50\x52\xe8", bytes(4)))
    result = boot(image=image, method="grub-bios", guests=(), timeout=20)
    assert result.status == Status.DIED
    assert result.has("GRUB could not load /boot/eptvisor.elf")


def test_a_cd_is_made_in_any_folder(monkeypatch, tmp_path: pathlib.Path) -> None:
    boot = Boot(name="harness-a=b", method="grub-bios")
    boot.folder.mkdir(parents=True, exist_ok=True)
    assert make_cd(boot).is_file()
    said = "echo 'error: it says why' >&2; echo . >&2"
    (tmp_path / "grub-mkrescue").write_text(f"#!/bin/sh\n{said}; exit 1\n")
    (tmp_path / "grub-mkrescue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(HarnessError, match="grub-mkrescue failed: error: it says why; `make doc"):
        make_cd(boot)


def test_doctor_names_every_machine() -> None:
    done = subprocess.run(
        ["/usr/bin/python3", "tools/doctor.py"], cwd=ROOT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    for machine in MACHINES:
        assert re.search(rf"^  (yes|no ) +{machine} ", done.stdout, re.MULTILINE)
    assert "make run" in done.stdout
    assert done.returncode == 0, done.stdout


def test_missing_packages_are_named(tmp_path: pathlib.Path) -> None:
    script = (ROOT / "tools/deps.sh").read_text()
    copy = tmp_path / "deps.sh"
    for program in ("/usr/bin/bochs-bin", "/usr/bin/clang"):
        script = script.replace(program, f"{tmp_path}/missing")
    copy.write_text(script)
    done = subprocess.run(
        ["sh", str(copy), "bochs", "base"], env={"NO_DEPS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("deps: missing: bochs. Type: apt-get install")


def test_guest_list(tmp_path: pathlib.Path) -> None:
    elf = tmp_path / "a.elf"
    elf.touch()
    ours = BUILD / "guest" / "hello.elf"
    guests = parse_guests(f"{elf} b={elf}:w1,w2 'c={elf}::--x y' {ours}", "all")
    assert [g.string for g in guests] == [
        "a -- all", "b w1 w2 -- all", "c -- --x y", "hello testctl -- all",
    ]  # fmt: skip
    with pytest.raises(HarnessError, match="two guests are called a"):
        Boot(name="x", guests=(Guest(elf), Guest(elf)))


def test_arguments_of_qemu(monkeypatch, tmp_path: pathlib.Path) -> None:
    """The display takes the place of the usual one, and further arguments come last; no other
    machine takes either."""
    monkeypatch.setattr("harness.boot.BUILD", tmp_path)
    image = tmp_path / "image"
    image.write_bytes(b"")

    def arguments(**more) -> list[str]:
        boot = Boot(name="x", machine="qemu-tcg", method="kernel", image32=image, **more)
        boot.folder.mkdir(parents=True, exist_ok=True)
        return qemu.arguments(boot, "tcg", "max", "file:serial.txt")

    words = arguments(display="ramfb", qemu_words=("-device", "pci-serial"))
    assert words[-2:] == ["-device", "pci-serial"]
    assert "ramfb" in words
    assert "VGA" not in words
    assert "VGA" in arguments()
    assert "-device" not in arguments(display="", monitor=("info version",))
    for more in ({"display": ""}, {"qemu_words": ("-S",)}):
        with pytest.raises(HarnessError, match="only QEMU takes further arguments"):
            Boot(name="x", **more)
