# SPDX-License-Identifier: MIT
"""MACHINE=serial: a machine that is known only by its console. Most tests play a console into a
pseudo-terminal; two read an emulator's."""

import contextlib
import importlib
import os
import pathlib
import pty
import re
import select
import signal
import socket
import subprocess
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator

import pytest
from conftest import HELLO, ROOT, hello

from harness import box, menu, port, session, sums, terminal
from harness.boot import Boot, Guest
from harness.errors import HarnessError, Status

BANNER = "eptvisor: a hypervisor for trying ideas about memory virtualization"
BOOT = 'boot: multiboot2 by GRUB 2.06, 1 modules, 15000 MiB of RAM free, command line "report"'
RESULTS = """\
KTAP version 1
1..2
# first: 32 MiB, testctl
    1..2
    ok 1 inner # exits=12
    ok 2 other
ok 1 first # ended=exit exits=100
ok 2 second # ended=exit exits=3
3 passed, 0 failed, 0 skipped
"""
FIRMWARE = "\x1b[2J\x1b[01;01HPress F2\r\n\r\n\r\n\x1b[1mGNU GRUB  version 2.06\r\n"


def summed(text: str) -> str:
    """Adds what the word `report` makes the end of a boot print."""
    hashes = [sums.fnv(line.encode()) for line in text.splitlines()]
    first, second = sum(hashes), sum(n * value for n, value in enumerate(hashes, 1))
    return (f"{text}report: console: {len(hashes)} lines, "
            f"sums {first % sums.PRIME:#x} {second % sums.PRIME:#x}\n")  # fmt: skip


PLAIN = f"{BANNER}\n{BOOT}\n{RESULTS}"
GOOD = summed(PLAIN) + "EXIT 0 ok\n"
PLAIN += "EXIT 0 ok\n"
BUSY = 600  # seconds by the clock that an emulator may take where others are at work


class Line:
    """A serial line: `path` is the harness' end. The other end plays what a test gives it."""

    def __init__(self) -> None:
        self.ours, theirs = pty.openpty()
        self.path = os.ttyname(theirs)
        self.theirs = theirs
        self.got = b""

    def begin(self) -> None:
        """Nobody reads the line yet."""
        settings = termios.tcgetattr(self.theirs)
        settings[3] |= termios.ECHO
        termios.tcsetattr(self.theirs, termios.TCSANOW, settings)

    def wait_until_read(self) -> None:
        """The harness has opened the line when it no longer echoes."""
        while termios.tcgetattr(self.theirs)[3] & termios.ECHO:
            time.sleep(0.002)

    def write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.ours, data) :]

    def play(self, *parts: bytes | float) -> None:
        with contextlib.suppress(OSError, termios.error):  # the test has ended
            self.wait_until_read()
            for part in parts:
                if isinstance(part, bytes):
                    self.write(part.replace(b"\n", b"\r\n"))
                else:
                    time.sleep(part)


@pytest.fixture
def line() -> Iterator[Line]:
    it = Line()
    yield it
    for fd in (it.ours, it.theirs):
        with contextlib.suppress(OSError):
            os.close(fd)


@pytest.fixture
def heard(line: Line, monkeypatch: pytest.MonkeyPatch, request):
    """heard(PART..., timeout=...) is what the harness makes of what is played."""
    monkeypatch.setattr(box, "QUIET", 0.2)
    monkeypatch.setattr(box, "POLL", 0.02)

    def run(*parts: str | bytes | float, shown: list[str] | None = None, **fields) -> session.Run:
        line.begin()
        raw = [part.encode() if isinstance(part, str) else part for part in parts]
        player = threading.Thread(target=line.play, args=raw, daemon=True)
        player.start()
        fields = {"timeout": 60, "machine": "serial", "port": line.path} | fields
        lines = shown if shown is not None else []
        try:
            return box.run(Boot(name=f"box-{os.getpid()}", **fields), lines.append)
        finally:
            with contextlib.suppress(termios.error):  # or it would wait for a reader
                tty.setraw(line.theirs)
            player.join()

    return run


def test_a_good_run(heard, line: Line) -> None:
    shown: list[str] = []
    run = heard(FIRMWARE, GOOD, shown=shown)
    assert (run.status, run.reason, run.complaints) == (Status.OK, "", [])
    assert shown[-1] == "EXIT 0 ok" and BANNER in shown
    assert [case.path for case in run.output.cases][:2] == ["first/inner", "first/other"]
    assert b"Press F2" in run.log.read_bytes(), "the log has everything"


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        ("EXIT 0 ok", "EXIT 11 vmx-locked-off", 11),
        ("ok 2 second", "not ok 2 second", Status.DISAGREES),
        ("1..2\n#", "1..2\nWARN: x\n#", Status.DISAGREES),
    ],
)
def test_verdicts_are_those_of_an_emulator(heard, old: str, new: str, status: int) -> None:
    assert old in PLAIN
    assert heard(PLAIN.replace(old, new)).status == status


def test_what_an_earlier_boot_left_is_not_a_result(heard) -> None:
    run = heard("not ok 7 old # x\n    1..9\n", GOOD)
    assert (run.status, run.reason) == (Status.OK, "")


def test_a_log_that_the_boot_before_has_left_is_no_boot(heard) -> None:
    kept = "".join(f"before| {line}\n" for line in [*PLAIN.splitlines()[:-1], "WARN: x"])
    run = heard(f"{BANNER}\n{BOOT}\n{kept}{RESULTS}EXIT 0 ok\n")
    assert (run.status, run.reason) == (Status.OK, "")
    assert len([case for case in run.output.cases if case.name == "second"]) == 1


def test_text_after_the_verdict_is_the_firmware_s(heard) -> None:
    assert heard(GOOD, FIRMWARE, GOOD).status == Status.OK


# ---- Lost characters --------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["EXIT 0 k", "EXI 0 ok", "EXIT 0 o", "EIT 0 ok", "IT 0 ok"])
@pytest.mark.parametrize("end", ["\n", ""])
def test_a_damaged_verdict_is_known(heard, text: str, end: str) -> None:
    run = heard(PLAIN.replace("EXIT 0 ok\n", text + end))
    assert (run.status, run.output.exit_code) == (Status.OK, 0)
    number = PLAIN.count("\n")
    assert run.complaints == [f"the console lost characters near line {number}: `{text}` for "
                              "`EXIT 0 ok`"]  # fmt: skip


def test_a_verdict_that_could_be_two_is_none(heard) -> None:
    """EXIT 1 failed, without its name, is also EXIT 10 to EXIT 17."""
    run = heard(PLAIN.replace("EXIT 0 ok\n", "EXIT 1\n"), timeout=0.6)
    assert run.status == Status.TIMED_OUT
    assert "the last line is `EXIT 1`" in run.reason


def test_no_exit_line_is_taken_for_another() -> None:
    lines = box.exit_lines()
    assert "EXIT 0 ok" in lines and "EXIT 27 module-bad-kernel" in lines
    assert not [line for line in lines if box.damaged_exit(line)]
    for line in lines:
        for at in range(len(line)):
            assert box.damaged_exit(line[:at] + line[at + 1 :]) in ("", line)


def test_what_can_be_two_exit_lines_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box, "exit_lines", lambda: ["EXIT 30 this-one", "EXIT 31 this-one"])
    assert box.damaged_exit("EXIT 30 this-on") == "EXIT 30 this-one"
    assert box.damaged_exit("EXIT 3 this-one") == ""


def test_a_lost_character_of_a_fact_is_only_reported(heard) -> None:
    run = heard(GOOD.replace("15000 MiB", "1500 MiB"))
    assert run.status == Status.OK
    assert run.complaints == [
        "the console lost characters in line 2: " + BOOT.replace("15000", "1500")
    ]


def test_a_lost_result_is_no_verdict(heard) -> None:
    run = heard(GOOD.replace("    ok 1 inner", "    o 1 inner"))
    assert run.status == Status.GARBLED
    assert run.reason.startswith("the console lost characters in line 7:     o 1 inner # exits=12; "
                                 "so the results cannot be judged: first: 2 tests announced, 1 ")
    run = heard(GOOD.replace("ok 1 first # ended=exit exits=100\n", "ok 1 first"))
    assert run.status == Status.GARBLED
    assert "lost characters and ends of lines: 10 lines of 11 came before the sums" in run.reason


def test_a_failure_is_a_failure_although_characters_are_lost(heard) -> None:
    text = summed(f"{BANNER}\n{BOOT}\n" + RESULTS.replace("ok 2 second", "not ok 2 second")
                  .replace("3 passed, 0", "2 passed, 1"))  # fmt: skip
    run = heard(text.replace("15000", "1500") + "EXIT 1 failed\n")
    assert (run.status, len(run.complaints)) == (1, 1)


def test_noise_is_reported(heard) -> None:
    """A break is a NUL; other noise is counted, and the text around it is read."""
    run = heard(PLAIN.replace("1..2\n# f", "1..2\0\n# f"))
    assert (run.status, run.complaints) == (Status.OK, [])
    run = heard(PLAIN.encode().replace(b"# first:", b"# fi\xff\xfe\x80rst:"))
    assert (run.status, run.complaints) == (
        Status.OK, ["3 bytes are no text, the first in line 5"])  # fmt: skip
    run = heard(PLAIN.encode().replace(b"ok 2 second", b"ok \xff2 second"))
    assert run.status == Status.GARBLED


def test_a_damaged_first_line_is_the_first_line(heard) -> None:
    assert heard("ok 9 old\n", PLAIN.replace("eptvisor:", "epvisor:")).status == Status.OK


# ---- A machine that does something else -------------------------------------------------------


@pytest.mark.parametrize("banner", [BANNER, BANNER.replace("hyper", "hypr")])
def test_a_machine_that_restarts_by_itself(heard, banner: str) -> None:
    begin, _, _ = PLAIN.partition("ok 2 second")
    run = heard(begin, FIRMWARE, f"{banner}\n{BOOT}\n", 0.1, "more\n")
    assert run.status == Status.RESTARTED
    assert run.reason == ("the machine restarted by itself, after first; its last line was "
                          "`ok 1 first # ended=exit exits=100`")  # fmt: skip


def test_a_machine_that_hangs(heard) -> None:
    run = heard(PLAIN.partition("    ok 2 other")[0] + "    ok 2 oth", timeout=0.5)
    assert run.status == Status.TIMED_OUT
    assert run.reason.startswith("no EXIT line after 0.5 s, after inner; the last line is "
                                 "`    ok 2 oth`, 0.")  # fmt: skip


def test_a_machine_that_never_begins(heard) -> None:
    run = heard("SeaBIOS (version 1.16)\nBooting from disk...\n", timeout=0.4)
    assert run.reason.startswith("eptvisor did not begin after 0.4 s; the last line is `Booting "
                                 "from disk...`")  # fmt: skip


def test_a_silent_line(heard, line: Line) -> None:
    run = heard(timeout=0.3)
    assert run.status == Status.TIMED_OUT
    assert run.reason == (f"nothing came from {line.path} after 0.3 s: is the machine on, the "
                          "cable connected, and its console this port, at 115200 baud?")


def test_a_wrong_speed(heard) -> None:
    run = heard(bytes(range(0x80, 0xF0)) * 3, timeout=0.3, baud=9600)
    assert run.reason.startswith("what came from ")
    assert run.reason.endswith(" is no text (336 of 336 bytes): is BAUD=9600 its speed?")


def test_a_line_that_is_unplugged(heard, line: Line) -> None:
    def unplug() -> None:
        line.play(PLAIN.partition("ok 2 second")[0].encode(), 0.1)
        os.close(line.theirs)
        os.close(line.ours)

    threading.Thread(target=unplug, daemon=True).start()
    run = heard()
    assert run.status == Status.DIED
    assert run.reason == f"{line.path} has gone: was it unplugged?; no EXIT line, after first"


# ---- Starting it ------------------------------------------------------------------------------


def test_power_starts_the_machine(heard, tmp_path: pathlib.Path) -> None:
    assert heard(GOOD, power=f"echo on >{tmp_path}/power").status == Status.OK
    assert (tmp_path / "power").read_text() == "on\n"
    with pytest.raises(HarnessError, match=r"^POWER=echo no relay; exit 3: status 3: no relay$"):
        heard(power="echo no relay; exit 3")


def test_words_and_an_entry_are_typed(heard, line: Line, monkeypatch) -> None:
    """GRUB's command line sets a variable that the entries use; then the entry's key is pressed.
    Nothing is typed before GRUB asks for it."""
    monkeypatch.setattr(box, "SETTLE", 0.01)
    monkeypatch.setattr(box, "TYPING", 0.001)

    def expect(text: bytes) -> None:
        got = b""
        while len(got) < len(text):
            got += os.read(line.ours, 1)
        assert got == text

    def grub() -> None:
        line.play(b"SeaBIOS\n")
        for said, typed in [("GNU GRUB", b"c"), ("grub> ", b"set words='huge=0 vpid=0'\r"),
                            ("grub> ", b"\x1b"), ("GNU GRUB", b"t")]:  # fmt: skip
            line.write(said.encode())
            expect(typed)
        line.play(PLAIN.replace('"report"', '"report huge=0 vpid=0"').encode())

    threading.Thread(target=grub, daemon=True).start()
    assert heard(cmdline="huge=0 vpid=0", entry="t").status == Status.OK


def test_words_that_were_not_typed_are_missed(heard) -> None:
    with pytest.raises(HarnessError, match=r"has booted without huge=0: GRUB takes words only if"):
        heard(PLAIN, cmdline="report huge=0")


@pytest.mark.parametrize(
    ("name", "baud", "message"),
    [
        ("", 115200, "MACHINE=serial needs PORT=: a device such as PORT=/dev/ttyUSB0"),
        ("/dev/nowhere", 115200, "PORT=/dev/nowhere: No such file or directory; choose a dev"),
        ("/dev/null", 115200, "PORT=/dev/null: .*; it is no serial port"),
        ("telnet:host", 115200, "PORT=telnet:host: choose a device"),
        ("telnet:127.0.0.1:1", 115200, "PORT=telnet:127.0.0.1:1: .*refused"),
        ("PTY", 12345, "BAUD=12345: no serial port has this speed; 115200 is eptvisor's"),
    ],
)
def test_a_port_that_cannot_be_opened(line: Line, name: str, baud: int, message: str) -> None:
    with pytest.raises(HarnessError, match=message), port.opened(
        name.replace("PTY", line.path), baud
    ):
        pass


def test_telnet_s_commands_are_no_text() -> None:
    """They may come in pieces, and 255 is sent twice."""
    data = b"a\xff\xfd\x01b\xff\xfb\x03\xff\xfa\x18\x01\xff\xf0c\xff\xff\xff\xf1d"
    for cut in range(len(data)):
        telnet = port.Telnet()
        parts = [telnet.feed(data[:cut]), telnet.feed(data[cut:])]
        assert b"".join(text for text, _ in parts) == b"abc\xffd"
        assert b"".join(answer for _, answer in parts) == b"\xff\xfc\x01\xff\xfe\x03"


def test_a_console_server(heard) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"\xff\xfb\x01" + GOOD.encode())
                connection.recv(100)

        threading.Thread(target=serve, daemon=True).start()
        name = f"telnet:127.0.0.1:{server.getsockname()[1]}"
        assert heard(port=name).status == Status.OK


def test_a_command_is_a_console(heard, tmp_path: pathlib.Path) -> None:
    (tmp_path / "log").write_text(GOOD)
    run = heard(port=f"cmd:test -t 0 && cat {tmp_path}/log; sleep 9")
    assert run.status == Status.OK
    run = heard(port="cmd:echo Error: no session; exit 4")
    assert run.status == Status.DIED
    assert run.reason.startswith("the command of PORT= ended with status 4; no EXIT line")
    assert "no session" in run.log.read_text()


# ---- Emulators --------------------------------------------------------------------------------


def bridge(line: Line, server: socket.socket, spoil: Callable[[bytes], bytes]) -> None:
    """Passes what an emulator sends to a serial line."""
    connection, _ = server.accept()
    line.wait_until_read()
    with connection, contextlib.suppress(OSError):
        while True:
            terminal.acknowledge(connection)
            ready, _, _ = select.select([connection], [], [], 30)
            data = connection.recv(4096) if ready else b""
            if not data:
                return
            line.write(spoil(data))


def test_bochs_by_a_serial_line(line: Line) -> None:
    """The sums are those that the hypervisor computes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=bridge, args=(line, server, bytes), daemon=True)
        thread.start()
        boot = Boot(name="box-bochs", guests=(hello(),), cmdline="report",
                    ips=5_000_000, serial_port=server.getsockname()[1])  # fmt: skip
        with session.started(session.prepare(boot), boot):
            run = box.run(Boot(name="box-bochs-read", machine="serial", port=line.path,
                               timeout=BUSY))  # fmt: skip
    assert (run.status, run.reason, run.complaints) == (Status.OK, "", [])
    got = run.log.read_bytes()
    assert sums.check_console(sums.lines(got)).complete
    spoilt = sums.check_console(sums.lines(got.replace(b"report: CPU: ", b"report: CU: ")))
    assert spoilt.line and spoilt.text.startswith("report: CU: ")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A small image, with the menu of `make image`."""
    folder = tmp_path_factory.mktemp("image")
    test = Guest(HELLO, ("testctl", "shared=39", "execute_only=38"))
    bench = Guest(HELLO.parent / "bench.elf", ("testctl", "budget=120000"), name="exits")
    offered = menu.entries({"test": (test,), "bench": (bench,)})
    menu.write_files(folder / "boot/grub", offered, menu.config(offered, timeout=60))
    subprocess.run(["grub-mkrescue", "-d", "/usr/lib/grub/i386-pc", "--fonts=", "--locales=",
                    "--themes=", "-o", "box.iso", folder], cwd=folder, check=True,
                   capture_output=True)  # fmt: skip
    return folder / "box.iso"


def test_qemu_by_the_menu_of_the_image(image: pathlib.Path) -> None:
    """The words and the entry are typed at GRUB's menu, which is on the serial port. QEMU refuses
    for lack of VMX."""
    qemu = ("qemu-system-x86_64 -nodefaults -display none -accel tcg -cpu max -m 256 "
            f"-cdrom {image} -serial stdio")  # fmt: skip
    run = box.run(Boot(name="box-qemu", machine="serial", port=f"cmd:{qemu}", entry=box.TEST,
                       cmdline="huge=0 vpid=0 on_exit=reboot", timeout=BUSY))  # fmt: skip
    assert (run.status, run.reason, run.complaints) == (10, "", [])
    (said,) = [line for line in run.output.lines if line.startswith("boot: ")]
    assert said.endswith(' command line "report on_exit=reboot huge=0 vpid=0"'), said
    grub = (image.parent / "boot/grub/grub.cfg").read_text()
    assert "'hello' 'testctl' 'shared=35' 'execute_only=34'" in grub, "for CPUs of 36 bits"


def test_the_commands_of_the_document(image: pathlib.Path) -> None:
    """They are run as they stand there, with another port, image and entry."""
    text = (ROOT / "docs/MACHINES.md").read_text()
    (block,) = re.findall(r"^```\n(tests/target/emulated_box.py 7003 .*?)^```", text, re.M | re.S)
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = free.getsockname()[1]
    changes = {
        "emulated_box.py 7003": f"emulated_box.py {number} --image {image} --name box-document",
        "sleep 1": f"until (: </dev/tcp/127.0.0.1/{number}) 2>/dev/null; do sleep 0.05; done",
        ":7003": f":{number}",
        "ENTRY=1": f"ENTRY={box.TEST} NAME=box-document-read TIMEOUT={BUSY}",
    }
    for old, new in changes.items():
        assert block.count(old) == 1
        block = block.replace(old, new)
    env = {key: value for key, value in os.environ.items() if key != "GUESTS"}
    done = subprocess.run(["bash", "-c", block], cwd=ROOT, env=env, text=True, check=False,
                          capture_output=True, timeout=BUSY)  # fmt: skip
    assert "\n2 passed, 0 failed, 0 skipped\n" in done.stdout, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("EXIT 0 ok"), done.stdout + done.stderr


@pytest.fixture
def server(image: pathlib.Path) -> Iterator[tuple[str, int]]:
    """PORT= of a machine on a console server, which is off, and the server's process."""
    command = [pathlib.Path(__file__).with_name("emulated_box.py"), "0", "--image", image, "--off",
               "--name", "box-emulated"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        number = process.stdout.readline().split()[-1]
        try:
            yield f"telnet:127.0.0.1:{number}", process.pid
        finally:
            process.terminate()


def test_a_machine_that_restarts_and_is_measured(
    server: tuple[str, int], monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """`make test` and `make bench` from the first byte to the last one. After the first boot the
    machine restarts by itself, and POWER= starts the third one."""
    monkeypatch.syspath_prepend(ROOT / "tools")
    tool = importlib.import_module("box")
    monkeypatch.setattr(tool, "SWITCHES", ("", "vpid=0 huge=0"))
    port, pid = server
    power = f"kill -USR1 {pid}"
    options = ["--machine=serial", f"--port={port}", f"--timeout={BUSY}", "--name=box-served"]
    threading.Timer(0.5, os.kill, (pid, signal.SIGUSR1)).start()  # somebody starts it
    monkeypatch.setattr(tool.sys, "argv", ["box.py", "test", *options])
    assert tool.main() == 0
    said = capsys.readouterr()
    assert said.err == f"run: start the machine; {port} is being read\n"
    assert re.findall(r"^ok \d (.*), \d+ s$", said.out, re.M) == [
        "no switches # 2 passed, 0 failed, 0 skipped",
        "vpid=0 huge=0 # 2 passed, 0 failed, 0 skipped",
    ]
    monkeypatch.setattr(tool.sys, "argv", ["box.py", "bench", f"--power={power}", *options])
    assert tool.main() == 0
    said = capsys.readouterr()
    assert re.search(r"^# CPU: .*i7-1065G7", said.out, re.M), said.out
    assert re.search(r"^exits +cpuid +\d+ +\d+ ticks$", said.out, re.M), said.out
