# SPDX-License-Identifier: MIT
"""GDB on the second serial port (docs/GDB.md), with a guest that starts a second vCPU: one boot, in
which GDB works and leaves, and then somebody comes who knows the protocol badly."""

import contextlib
import json
import pathlib
import re
import socket
import struct
import subprocess
import threading
from collections.abc import Callable
from typing import Any

import pytest
from conftest import BUILD, CODES, ROOT, Result, hello
from harness import debian, session, trace
from harness.boot import Boot, Guest
from harness.debugger import Relay
from harness.errors import Status

SMP = BUILD / "guest" / "smp.elf"
DOCUMENT = ROOT / "docs" / "GDB.md"
IPS = 2_000_000  # so few that a byte on the serial line does not take long
STEPS = 1000
EXECUTED = 70_000  # instructions of the machine, of which the guest's are more than these
PC = re.compile(rb"10:(\w+);")
STACK = re.compile(rb"7:(\w+);")
ANSWER = re.compile(rb"\$([^#]*)#[0-9a-f]{2}")


class Stranger:
    """A connection to the stub, and what it has said on it since the last answer."""

    def __init__(self, port: int) -> None:
        self.connection = socket.create_connection(("127.0.0.1", port), 60)
        self.said = b""

    def __enter__(self) -> "Stranger":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def send(self, packet: bytes) -> None:
        self.connection.sendall(b"$%b#%02x" % (packet, sum(packet) & 0xFF))

    def wait_for(self, pattern: re.Pattern[bytes]) -> re.Match[bytes]:
        while not (found := pattern.search(self.said)):
            got = self.connection.recv(4096)
            assert got, self.said
            self.said += got
        self.said = self.said[found.end() :]
        return found

    def connect(self) -> None:
        """Asks until the hypervisor has started and answers, and passes over what is left."""
        self.connection.settimeout(3)
        while b"PacketSize" not in self.said:
            self.send(b"qSupported")
            with contextlib.suppress(TimeoutError):
                self.said += self.connection.recv(4096)
        self.connection.settimeout(60)
        self.send(b"vCont?")
        self.wait_for(re.compile(rb"vCont;c;C;s;S#.."))

    def ask(self, packet: bytes) -> bytes:
        self.send(packet)
        return self.wait_for(ANSWER)[1]


def pc_of(stop: bytes) -> int:
    """The instruction pointer in the message of a stop."""
    found = PC.search(stop)
    assert found, stop
    return int.from_bytes(bytes.fromhex(found[1].decode()), "little")


def strangers(port: int) -> dict[str, bytes]:
    """Noise and broken packets do no harm, and a VM that runs is interrupted."""
    with Stranger(port) as stub:
        heard = {"connects": stub.ask(b"qSupported")}
        stub.connection.sendall(bytes(range(4, 36)) + b"$g#00")
        stub.wait_for(re.compile(rb"-"))
        for packet in (b"?", b"m0,zz", b"vCont;s:77", b"Z0,7fffffffffff,1", b"p7777"):
            heard[packet.decode()] = stub.ask(packet)
        stub.send(b"vCont;c")
        stub.connection.sendall(b"\x03")
        heard["^C"] = stub.wait_for(ANSWER)[1]
        heard["D"] = stub.ask(b"D")
    return heard


def makes_steps(port: int) -> list[int]:
    """Stops in the guest's main function, makes steps, and says where they lead."""
    symbols = trace.symbols(SMP.with_name("smp.elf.64"))
    start = next(address for address, name in symbols if name == "guest_main")
    with Stranger(port) as stub:
        stub.connect()
        for packet in (b"Z1,%x,1" % start, b"vCont;c", b"z1,%x,1" % start):
            stub.ask(packet)
        found = [start]
        for _ in range(STEPS):
            found.append(pc_of(stub.ask(b"vCont;s:1")))
    return found


@pytest.fixture(scope="module")
def debugged() -> tuple[Result, dict[str, Any], dict[str, bytes]]:
    results = BUILD / "run" / "gdb-results.json"
    results.unlink(missing_ok=True)
    with Relay() as relay:
        boot = Boot(name="gdb-session", cmdline="gdb=smp", smp=2, ips=IPS, timeout=600,
                    guests=(Guest(SMP, ("testctl", "vcpus=2", "budget=600000")),),
                    gdb_port=relay.machine_port)  # fmt: skip
        runs: list[session.Run] = []
        machine = threading.Thread(target=lambda: runs.append(session.run(boot)))
        machine.start()
        command = ["gdb", "-q", "-nx", "-batch", "-ex", "set remotetimeout 60",
                   "-ex", f'set $results = "{results}"', "-ex", f"file {SMP}.64",
                   "-ex", f"target remote 127.0.0.1:{relay.gdb_port}",
                   "-x", str(ROOT / "tests/target/gdb_session.py")]  # fmt: skip
        steps = makes_steps(relay.gdb_port)
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        heard = strangers(relay.gdb_port) if results.exists() else {}
        machine.join()
    assert results.exists(), said.stdout + said.stderr
    return Result(runs[0]), {"steps": steps, **json.loads(results.read_text())}, heard


def test_the_guest_is_as_without_gdb(debugged) -> None:
    result, _, _ = debugged
    assert result.exit == CODES.OK, result
    assert result.passed("smp"), result
    assert result.has("# gdb: VM 1, smp, is stopped before its first instruction and waits for GDB")


def test_stops(debugged) -> None:
    """Breakpoints by symbols, and the trap flag is not seen."""
    _, found, _ = debugged
    assert "error" not in found
    assert found["stop"] == "cpus_start"
    assert found["trap flag"] == 0
    assert found["hardware stop"] == "start_cpus"
    assert found["finish"] == "let_interrupts_in"
    assert found["watchpoint"] == [1, 1]


def test_modes(debugged) -> None:
    """Breakpoints and steps in 16-, 32- and 64-bit code, where thread 2 is."""
    _, found, _ = debugged
    assert found["modes"] == {"16": [2, 0, 2, 4, 0], "32": [2, 0, 5, 7, 0], "64": [2, 0, 5, 14, 0]}


def test_watchpoints_without_debug_registers(debugged) -> None:
    _, found, _ = debugged
    watches = found["watches"]
    assert watches["there are"] == 7
    assert watches["counter"] == [1, 2]
    assert watches["FXSAVE"] == [True, 0x303, 0x1F80]


def test_steps(debugged) -> None:
    """Each step leads where the guest goes in Bochs without GDB."""
    steps = debugged[1]["steps"]
    commands = (f"lb {steps[0]:#x}", "c", "d 1", "trace on", f"s {EXECUTED}", "q")
    alone = Boot(name="gdb-alone", debugger=commands,
                 guests=(Guest(SMP, ("testctl", "vcpus=2")),))  # fmt: skip
    session.run(alone)
    text = (alone.folder / "emulator.txt").read_text(errors="replace")
    executed = [int(found[1], 16) for found in trace.STEP.finditer(text)]
    guests = [address for address in executed if address < trace.HYPERVISOR]
    assert len(steps) == STEPS + 1
    assert steps == guests[: len(steps)]


def test_registers_and_memory(debugged) -> None:
    _, found, _ = debugged
    assert found["registers"]["cs"] == 8
    assert found["registers"]["efer"] == 0x500
    assert found["registers"]["cr0"] & 0x80000001 == 0x80000001
    xmm, ymm, mxcsr = (line.partition(" = ")[2] for line in found["vectors"].strip().split("\n"))
    assert (xmm, ymm, mxcsr) == ("0", "{0, 0, 0, 0, 0, 0, 0, 0}", "8064")
    assert "0xcc" not in found["code"]
    handler, vectors = found["vector 0"]
    assert handler == vectors
    code = re.findall(r"0x([0-9a-f]{2})\b", found["code"].split(":", 1)[1])
    assert found["physical"].split(":")[1].split() == code
    assert found["device"] == "error: Cannot access memory at address 0xfee00000"
    assert found["nothing there"].startswith("error: Cannot access memory")
    assert found["a register"] == 0x1234567812345678
    assert re.search(r"\bE16\b|'16'", found["a fixed register"])  # by the version of GDB


def test_threads(debugged) -> None:
    _, found, _ = debugged
    assert found["threads at first"].count("(vCPU ") == 1
    assert found["thread"] == 2
    assert re.search(r"  1 +Thread 1 \(vCPU 0\)", found["threads"])
    assert re.search(r"\* 2 +Thread 2 \(vCPU 1\) let_interrupts_in", found["threads"])
    assert found["another thread's step"] == [True, 2]


def test_strangers(debugged) -> None:
    _, _, heard = debugged
    assert heard["connects"].startswith(b"PacketSize=")
    assert heard["?"].startswith(b"T05thread:1;")
    assert heard["m0,zz"] == heard["vCont;s:77"] == heard["p7777"] == b"E01"
    assert heard["Z0,7fffffffffff,1"] == b"E0e"
    assert heard["^C"].startswith(b"T02thread:")
    assert heard["D"] == b"OK"


def test_the_document(debugged) -> None:
    """The output in docs/GDB.md is what GDB says, but for addresses and lines."""
    _, found, _ = debugged

    def plain(text: str) -> str:
        text = re.sub(r"0x[0-9a-f]+", "0x#", text)
        text = re.sub(r"(\(vCPU \d\)).*", r"\1", text)  # where it is depends on the compiler
        return re.sub(r" +", " ", re.sub(r":\d+\b", ":#", text))

    document = plain(DOCUMENT.read_text())
    for name in ("device", "no command", "threads"):
        for line in found[name].removeprefix("error: ").strip().splitlines():
            if plain(line).strip() not in document:
                raise AssertionError(f"docs/GDB.md does not show {line!r}")


STEPPED = BUILD / "guest" / "stepped.elf"
WATCHED = 0xC0000008
TRAP_FLAG = 0x100


def places(program: pathlib.Path) -> dict[str, int]:
    return {name: address for address, name in trace.symbols(program)}


def test_steps_over_what_is_emulated_and_slots_that_change() -> None:
    """N104: each step leads to the next instruction, by whatever path an access is emulated. N101:
    watched memory is deleted, comes back with another content, moves away and comes back."""
    at = places(STEPPED)
    stops: list[bytes] = []
    values: list[bytes] = []

    def talk(port: int) -> None:
        with Stranger(port) as stub:
            stub.connect()
            stub.ask(b"Z1,%x,1" % at["step_0"])
            for _ in range(3):
                stub.ask(b"vCont;c")
            stub.ask(b"z1,%x,1" % at["step_0"])
            stops.extend(stub.ask(b"vCont;s:1") for _ in range(10))
            assert stub.ask(b"Z1,%x,1" % at["watched_from_here"]) == b"OK"
            stub.ask(b"vCont;c")
            stub.ask(b"z1,%x,1" % at["watched_from_here"])
            assert stub.ask(b"Z2,%x,3" % WATCHED) == b"OK"  # no debug register watches 3 bytes
            while (stop := stub.ask(b"vCont;c")).startswith(b"T05"):
                assert b"watch:%x;" % WATCHED in stop, stop
                values.append(stub.ask(b"m%x,1" % WATCHED))
            assert stop == b"W00"

    result = run_debugged(STEPPED, ("testctl",), talk)
    assert result.passed("debugged"), result
    expected = [at[f"step_{i}"] for i in range(1, 9)] + [at["step_8"] + 1, at["step_9"]]
    assert [pc_of(stop) for stop in stops] == expected
    assert values == [b"02", b"00", b"03", b"05"], values


TD = BUILD / "guest" / "td_leaves.elf"
VECTOR_VE = 20


def run_debugged(
    program: pathlib.Path, words: tuple[str, ...], talk: Callable[[int], None]
) -> Result:
    """Boots a guest that is GDB's while somebody talks to the stub."""
    with Relay() as relay:
        guest = Guest(program, (*words, "budget=60000"), "", "debugged")
        boot = Boot(name=f"gdb-{program.stem}-{words[0]}", cmdline="gdb=debugged", timeout=300,
                    guests=(guest,), gdb_port=relay.machine_port)  # fmt: skip
        runs: list[session.Run] = []
        machine = threading.Thread(target=lambda: runs.append(session.run(boot)))
        machine.start()
        talk(relay.gdb_port)
        machine.join()
    return Result(runs[0])


def steps_through_ve(stub: Stranger, load: int, handler: int) -> tuple[int, int]:
    """Steps over a load that causes #VE. Returns where the next step leads, and the frame's RFLAGS;
    the frame has to have the load's address."""
    stub.ask(b"Z1,%x,1" % load)
    assert pc_of(stub.ask(b"vCont;c")) == load
    stub.ask(b"z1,%x,1" % load)
    stop = stub.ask(b"vCont;s:1")
    found = STACK.search(stop)
    assert found, stop
    stack = int.from_bytes(bytes.fromhex(found[1].decode()), "little")
    frame = bytes.fromhex(stub.ask(b"m%x,18" % stack).decode())
    assert pc_of(stop) == handler
    rip, _, flags = struct.unpack("<3Q", frame)
    assert rip == load
    return pc_of(stub.ask(b"vCont;s:1")), flags


def test_a_td_that_may_be_inspected() -> None:
    """A breakpoint in private memory, where it is hidden, and steps: of an instruction, and through
    the #VE of loads, of which the first is delivered by the module and the next by the CPU (N104).
    """
    at = places(TD)
    start, handler = at["guest_main"], at["rt_vectors"] + 16 * VECTOR_VE
    heard: list[bytes] = []
    after: list[tuple[int, int]] = []

    def talk(port: int) -> None:
        with Stranger(port) as stub:
            stub.connect()
            heard.append(stub.ask(b"m%x,1" % start))
            for packet in (b"Z0,%x,1", b"vCont;c", b"m%x,1", b"Z2,%x,3", b"z0,%x,1",
                           b"vCont;s:1"):  # fmt: skip
                heard.append(stub.ask(packet % start if b"%" in packet else packet))
            after.extend(steps_through_ve(stub, at["do_read"], handler) for _ in range(2))
            heard.append(stub.ask(b"D"))

    result = run_debugged(TD, ("tdx=debug",), talk)
    assert result.passed("debugged"), result
    byte, inserted, stop, hidden, refused, removed, step, detached = heard
    assert inserted == removed == detached == b"OK"
    assert len(byte) == 2 and hidden == byte != b"cc"
    assert refused == b"E.only the debug registers watch a TD"
    assert b"swbreak:;" in stop and pc_of(stop) == start
    assert start < pc_of(step) < start + 16
    for rip, flags in after:
        assert handler < rip < handler + 16
        assert not flags & TRAP_FLAG


def test_a_td_that_may_not() -> None:
    result = run_debugged(TD, ("tdx",), lambda port: None)
    assert result.passed("debugged"), result
    assert result.has("error: gdb: VM 1, debugged, is a TD whose state is its own; only one with "
                      "tdx=debug can be debugged")  # fmt: skip


def gdb_py(**env: str) -> subprocess.CompletedProcess[str]:
    """Starts tools/gdb.py as `make gdb` does."""
    done = subprocess.run(["/usr/bin/python3", "tools/gdb.py"], cwd=ROOT, text=True,
                          env={"PATH": "/usr/bin:/bin"} | env, capture_output=True,
                          stdin=subprocess.DEVNULL, timeout=60, check=False)  # fmt: skip
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"GUEST": "nobody"}, "nobody.elf does not exist; make it with"),
        ({"MACHINE": "qemu-tcg"}, "MACHINE=qemu-tcg: choose from bochs, nested, qemu-kvm, which"),
        ({"BOCHS": "9"}, "BOCHS=9: choose from 2.7, 3.0"),
        ({"SMP": "x"}, "SMP=x is not a number of at least 1"),
        ({"SMP": "16"}, "Bochs has at most 15 CPUs, not 16"),
        ({"SYMBOLS": "/nowhere"}, "SYMBOLS=/nowhere: no such file"),
        ({"GUEST": "linux", "VCPUS": "x"}, "VCPUS=x is not a number of at least 1"),
        ({"GUEST": "linux", "MEM": "1G"}, "MEM=1G is not a number of at least 1"),
        ({"GUEST": "linux", "KERNEL": "/nowhere"}, "KERNEL=/nowhere does not exist"),
        ({"GUEST": "linux", "KERNEL": "/bin/true", "INITRD": "/nowhere"}, "INITRD=/nowhere does"),
        ({"PATH": "/nowhere"}, "gdb not found: apt-get install gdb"),
    ],
)
def test_what_cannot_be_started_is_refused_in_a_line(env: dict[str, str], message: str) -> None:
    done = gdb_py(**env)
    assert done.returncode == Status.NOT_STARTED
    assert done.stderr.startswith("gdb: ") and message in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not done.stdout


def test_no_emulator_is_said_in_a_line(tmp_path) -> None:
    """Before GDB begins, which would wait for it."""
    (tmp_path / "gdb").symlink_to("/usr/bin/gdb")
    done = gdb_py(PATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (Status.NOT_STARTED, "")
    assert done.stderr == "gdb: bochs-bin not found: apt-get install bochs\n"


def test_gdb_does_not_wait_for_a_machine_that_has_ended() -> None:
    done = gdb_py(WORDS="nonsense")
    assert "Remote connection closed" in done.stderr or "Connection reset" in done.stderr
    assert re.search(r'^gdb: the machine has ended: module-words; error: guest hello: unknown word '
                     r'"nonsense"', done.stderr, re.M), done.stderr  # fmt: skip
    assert done.stdout.endswith("The machine has ended: module-words\n")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("nobody", "no guest has this number or name; there are: hello"),
        ("1", r"no second serial port \(COM2, at 0x2f8\)"),
    ],
)
def test_refused(boot, word: str, message: str) -> None:
    result = boot(cmdline=f"gdb={word}", guests=(hello(),))
    assert result.exit == CODES.BAD_COMMAND_LINE
    assert result.has(f"command line: gdb={word}: .*{message}")
