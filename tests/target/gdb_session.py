# SPDX-License-Identifier: MIT
"""Runs inside of GDB (test_gdb.py): a session with the guest smp, whose results are written to the
file that the variable $results names, as JSON."""

import json
import re

import gdb  # type: ignore[import-not-found]

results: dict[str, object] = {}
STEPS = 100


def run(command: str) -> str:
    """What GDB says, or its error."""
    try:
        return gdb.execute(command, to_string=True)
    except gdb.error as error:
        return f"error: {error}"


def value(expression: str) -> int:
    return int(gdb.parse_and_eval(expression))


def next_pcs(pc: int) -> list[int]:
    """Where the instruction at this address can lead, by its text, before it is executed."""
    found = gdb.selected_frame().architecture().disassemble(pc, count=1)[0]
    text, following = found["asm"], pc + found["length"]
    target = re.match(r"(j|call)\w*\s+(?:\*%(\w+)|0x([0-9a-f]+))", text)
    if text.startswith("ret"):
        return [value("*(unsigned long *)$rsp")]
    if text.startswith("rep"):
        return [pc, following]
    if not target:
        return [following]
    to = value(f"${target[2]}") if target[2] else int(target[3], 16)
    return [to] if text.startswith(("jmp", "call")) else [to, following]


def steps() -> list[str]:
    """The steps that did not lead where they have to."""
    wrong = []
    for _ in range(STEPS):
        pc = value("$pc")
        expected = next_pcs(pc)
        run("stepi")
        if value("$pc") not in expected:
            wrong.append(f"{pc:#x} -> {value('$pc'):#x}, not {expected}")
    return wrong


def session() -> None:
    run("set confirm off")
    results["threads at first"] = run("info threads")
    run("break guest_main")
    run("continue")
    results["stop"] = gdb.selected_frame().name()
    results["registers"] = {name: value(f"${name}") for name in ("rip", "cr0", "efer", "cs")}
    results["vectors"] = run("p $xmm0.uint128") + run("p $ymm0.v8_int32") + run("p $mxcsr")
    results["code"] = run("x/8xb guest_main")
    results["device"] = run("x/xw 0xfee00000")
    results["nothing there"] = run("x/xw 0x7fffffff0000")
    results["physical"] = run(f"monitor phys {value('(long)guest_main'):x} 8")
    results["no command"] = run("monitor nonsense")
    run("set $rbx = 0x1234567812345678")
    results["a register"] = value("$rbx")
    results["a fixed register"] = run("set $cr3 = 0")
    run("delete")
    results["wrong steps"] = steps()
    results["trap flag"] = value("(int)$eflags >> 8 & 1")
    run("hbreak start_cpus")
    run("continue")
    results["hardware stop"] = gdb.selected_frame().name()
    run("delete")
    run("finish")
    results["finish"] = [gdb.selected_frame().name(), value("$al")]
    run("break let_interrupts_in")
    run("continue")
    results["thread"] = gdb.selected_thread().num
    results["threads"] = run("info threads")
    run("delete")
    run("set scheduler-locking on")
    before = value("$pc")
    run("stepi")
    results["another thread's step"] = [before != value("$pc"), gdb.selected_thread().num]
    run("set scheduler-locking off")
    run("watch stop")
    run("continue")
    results["watchpoint"] = [value("stop"), gdb.selected_thread().num]
    run("delete")


try:
    session()
except gdb.error as error:
    results["error"] = str(error)
with open(gdb.convenience_variable("results").string(), "w") as file:
    json.dump(results, file)
gdb.execute("disconnect")  # the VM stays where it is
