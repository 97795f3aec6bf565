# SPDX-License-Identifier: MIT
"""Runs inside of GDB (test_gdb.py): a session with the guest smp, whose results are written to the
file that the variable $results names, as JSON."""

import json

import gdb  # type: ignore[import-not-found]

results: dict[str, object] = {}
stops: list[object] = []
TRAMPOLINE = 0x8000  # of guest/programs/rt/smp.c


def run(command: str) -> str:
    """What GDB says, or its error."""
    try:
        return gdb.execute(command, to_string=True)
    except gdb.error as error:
        return f"error: {error}"


def value(expression: str) -> int:
    return int(gdb.parse_and_eval(expression))


def note_stop(event: object) -> None:
    """What a breakpoint or watchpoint that is met is for."""
    met = getattr(event, "breakpoint", None)
    stops.append(met and (met.expression or met.location))


def modes() -> dict[str, list[int]]:
    """A hardware breakpoint, two steps and a software breakpoint in each kind of code by which the
    second CPU starts."""
    flat = value("(long)&in_flat_mode")
    found = {}
    for bits, hardware, software in (
        ("16", TRAMPOLINE + 1, TRAMPOLINE + 0xB),
        ("32", flat, flat + 0x18),
        ("64", flat + 0x3F, value("(long)rt_ap_main")),
    ):
        run(f"hbreak *{hardware}")
        run("continue")
        run("delete")
        found[bits] = [gdb.selected_thread().num, value("$pc") - hardware]
        for _ in range(2):
            run("stepi")
            found[bits].append(value("$pc") - hardware)
        run(f"break *{software}")
        run("continue")
        run("delete")
        found[bits].append(value("$pc") - software)
    return found


def watches() -> dict[str, object]:
    """More watchpoints than there are debug registers: one is met by an instruction that is
    emulated, and one by FXSAVE, which the CPU executes, in a step."""
    found: dict[str, object] = {}
    scratch = 16 << 20  # RAM that the guest does not use
    for i in range(5):
        run(f"watch *(char *){scratch + 0x200 + i}")
    run(f"watch *(int *){scratch + 24}")  # MXCSR
    run("watch *(int *)((char *)taken + 6)")  # of two counters
    found["there are"] = run("info watchpoints").count("hw watchpoint")
    run("continue")
    found["counter"] = [value("taken[1]"), gdb.selected_thread().num]
    rip, rdi = value("(long)$rip"), value("(long)$rdi")
    run(f"set var *(int *){scratch + 0x300} = 0x07ae0f")
    run(f"set $rdi = {scratch}")
    run(f"set $rip = {scratch + 0x300}")
    run("stepi")
    watched = f"*(int *){scratch + 24}"
    found["FXSAVE"] = [stops[-1] == watched, value("(long)$rip") - scratch, value(watched)]
    run(f"set $rdi = {rdi}")
    run(f"set $rip = {rip}")
    run("delete")
    return found


def session() -> None:
    run("set confirm off")
    results["threads at first"] = run("info threads")
    run("break cpus_start")
    run("continue")
    results["stop"] = gdb.selected_frame().name()
    results["registers"] = {name: value(f"${name}") for name in ("rip", "cr0", "efer", "cs")}
    results["vectors"] = run("p $xmm0.uint128") + run("p $ymm0.v8_int32") + run("p $mxcsr")
    results["code"] = run("x/8xb guest_main")
    run("source tools/kaslr.py")
    results["vector 0"] = [globals()["handler"](), value("(long)rt_vectors")]
    results["device"] = run("x/xw 0xfee00000")
    results["nothing there"] = run("x/xw 0x7fffffff0000")
    results["physical"] = run(f"monitor phys {value('(long)guest_main'):x} 8")
    results["no command"] = run("monitor nonsense")
    rbx = value("(long)$rbx")
    run("set $rbx = 0x1234567812345678")
    results["a register"] = value("$rbx")
    run(f"set $rbx = {rbx}")
    results["a fixed register"] = run("set $cr3 = 0")
    run("delete")
    run("stepi 20")
    results["trap flag"] = value("(int)$eflags >> 8 & 1")
    run("hbreak start_cpus")
    run("continue")
    results["hardware stop"] = gdb.selected_frame().name()
    run("delete")
    results["modes"] = modes()
    run("break let_interrupts_in")
    run("continue")
    results["thread"] = gdb.selected_thread().num
    results["threads"] = run("info threads")
    run("delete")
    run("tbreak apic_take_logical_id")
    run("continue")
    run("finish")
    results["finish"] = gdb.selected_frame().name()
    run("set scheduler-locking on")
    before = value("$pc")
    run("stepi")
    results["another thread's step"] = [before != value("$pc"), gdb.selected_thread().num]
    run("set scheduler-locking off")
    results["watches"] = watches()
    run("watch stop")
    run("continue")
    results["watchpoint"] = [value("stop"), gdb.selected_thread().num]
    run("delete")


gdb.events.stop.connect(note_stop)
try:
    session()
except gdb.error as error:
    results["error"] = str(error)
with open(gdb.convenience_variable("results").string(), "w") as file:
    json.dump(results, file)
gdb.execute("disconnect")  # the VM stays where it is
