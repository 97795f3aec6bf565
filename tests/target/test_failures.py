# SPDX-License-Identifier: MIT
"""The messages when the hypervisor itself fails, or when a VM entry fails."""

import pytest
from conftest import BUILD, CODES, hello
from harness.boot import Guest

PROVOKED = {
    "null": [r"#PF page fault .* error code 0\)", r"read of 0+18: a null pointer, offset 0x18"],
    "stack": ["#DF double fault", "the guard page of the boot stack: stack overflow",
              r"recurse\+0x", "[.][.][.] repeated", r"provoke\+0x"],
    "code": ["#PF page fault",
             "write of ffffffff80201000: the hypervisor's code, which is read-only"],
    "data": ["#PF page fault", "fetch of .*: the hypervisor's data, which is not executable",
             "not hypervisor code"],
    "mc": [r"^error: #MC machine check on CPU 0, in the hypervisor at RIP 0xffffffff8\w+: ",
           r"^  (this CPU has no machine-check banks|IA32_MCG_CAP 0x)"],
    "bug": [r"BUG at vm/provoke.c:\d+: what == PROVOKE_BUG", r"provoke\+0x"],
}  # fmt: skip


@pytest.mark.parametrize("what", PROVOKED)
def test_a_failing_hypervisor_explains_itself(boot, what: str) -> None:
    result = boot(cmdline=f"provoke={what}", guests=(hello(),))
    assert result.exit == CODES.PANIC, result
    for message in PROVOKED[what]:
        assert result.has(message), f"{message} is missing in {result}"
    assert result.has(r"boot_main\+0x"), "the backtrace does not reach the start"
    if what != "bug":
        assert result.has(r"rip ffffffff8") and result.has(r"r15 .* cr2 "), "no registers"


@pytest.mark.parametrize("what", ["warn", "nmi"])
def test_a_warning_fails_the_run(boot, what: str) -> None:
    result = boot(cmdline=f"provoke={what}", guests=(hello(),))
    assert result.exit == CODES.WARNED, result
    assert result.has("^WARN: ")
    assert result.passed("hello")


@pytest.mark.parametrize("cpu", ["", "corei7_haswell_4770"])
def test_a_refused_instruction_is_survived(boot, cpu: str) -> None:
    """One table guards all instructions that the hypervisor executes with an operand of a guest."""
    result = boot(cmdline="provoke=guarded", cpu=cpu, guests=(hello(),))
    assert result.exit == CODES.OK, result
    assert result.has("^# 8 of 8 instructions were refused by the CPU, and the hypervisor went on$")
    assert result.passed("hello")


def test_memory_that_is_not_given_back(boot) -> None:
    """The message names the function that allocated it. If no memory is missing, the report says
    so."""
    result = boot(cmdline="provoke=leak", guests=(hello(),))
    assert result.exit == CODES.WARNED, result
    assert result.has("^WARN: memory: 5 pages were not given back"), result
    asked = r"allocated, the first at 0x"
    for pages in (1, 4):
        assert result.has(rf"^  {pages} pages in 1 blocks that provoke\+0x\w+ {asked}")
    assert not result.has("all memory was returned"), result
    assert boot(guests=(hello(),)).has(r"^# all memory was returned: \d+ pages are free$")


# The argument of forbidden_triple_fault, with what the triple fault began, and what is wrong.
TRIPLE_FAULTS = {
    "": (r"#UD", r"the IDT's limit, 0, excludes the gate for vector 6 \(#UD\)"),
    "page": (r"#PF \(error code 0x2\) for address 0x8000000000",
             r"the gate for vector 14 \(#PF\), at 0x\w+ in the IDT, is not present or not valid"),
    "stack": (r"#PF \(error code 0x2\) for address 0x7ffffffff8",
              r"its stack has overflowed, or RSP is wrong; with an IST stack for #DF the guest"),
    "code": (r"#PF \(error code 0x2\) for address 0x8000000000",
             r"the gate for vector 14 \(#PF\) leads to no valid code; look at its selector"),
    "idt": (r"#PF \(error code 0\) for address 0x8000002000",
            r"the page tables do not map the IDT"),
    "int": (r"INT 0x80", r"the IDT's limit, 0, excludes the gate for vector 128"),
    "sent": (r"interrupt 0x50", r"the IDT's limit, 0, excludes the gate for vector 80"),
    "nmi": (r"an NMI", r"the IDT's limit, 0, excludes the gate for vector 2 \(NMI\)"),
    "msr": (r"#GP \(error code 0\)", r"the IDT's limit, 0, excludes the gate for vector 13"),
}  # fmt: skip


EXPECTED = "expect=triple-fault"


@pytest.mark.parametrize("words", ["", "poison=1", "ept_ad=0 vpid=0"])
def test_a_triple_fault_names_its_first_event(boot, words: str) -> None:
    program, words_of_vm = BUILD / "guest/forbidden_triple_fault.elf", ("testctl", EXPECTED)
    guests = [Guest(program, words_of_vm, how, f"by_{how}") for how in TRIPLE_FAULTS]
    result = boot(cmdline=words, guests=(*guests, hello()))
    assert result.status == 0, result
    for how, (began, wrong) in TRIPLE_FAULTS.items():
        line = rf"triple fault at RIP 0x10\w+: it began with {began}; {wrong}"
        assert result.has(f"^# by_{how}: {line}"), f"{how}: {result}"
        registers = r"RIP 0x10\w+, RSP 0x\w+, CR2 \w+, CR3 0x\w+, IDTR base \w+ limit \w+$"
        assert result.has(rf"^# by_{how}: vCPU 0: {registers}"), result
        assert result.has(rf"^# by_{how}: the delivery of .* the delivery of #DF raised #"), result


def test_a_budget_says_what_the_guest_did(boot) -> None:
    """For a guest that waits for missing devices, the report names the devices and the reasons of
    its exits."""
    waits = Guest(BUILD / "guest/forbidden_wait.elf", ("budget=200", "expect=budget"))
    result = boot(guests=(waits,))
    assert result.status == 0, result
    for line in [r"exits of all vCPUs: \d+, \d+ by I/O instruction \(\d+ %\), \d+ by EPT misconf",
                 r"no device is at port 0x64: \d{3} accesses$",
                 r"no device is at address 0xfed00000: \d{3} accesses$",
                 r"no device is at address 0xd0000008: \d{3} accesses$",
                 r"still running after its budget of 200 ms, at RIP 0x10\w+; give it more "
                 r"with budget=, up to 3600000$"]:  # fmt: skip
        assert result.has(f"^# forbidden_wait: {line}"), f"{line} is missing in {result}"


# A VMCS field, a bad value, and the message of the entry checks. The CPU must also refuse each of
# them.
BROKEN = [
    (0x4000, 0, r"pin-based controls = 0x0: bit 1 is 0 but must be 1"),
    (0x401E, 0xFFFFFFFF, r"secondary processor-based controls = 0xffffffff: bit 15 .* is 1 but"),
    (0x400C, 0, r"VM-exit controls = 0x0: bit 0 is 0 but must be 1"),
    (0x4012, 0x3FB, r"VM-entry controls = 0x3fb: bit 12 is 0 but must be 1"),
    (0x201A, 0x12345003, r"EPT pointer = 0x12345003: bits 2:0, the memory type, are 3"),
    (0x2004, 0x123, r"MSR-bitmap address = 0x123"),
    (0x0000, 0, r"VPID = 0x0"),
    (0x4016, 0x80000102, r"VM-entry interruption information = 0x80000102"),
    (0x6C00, 0, r"host CR0 = 0x0: bit 0 is 0 but must be 1"),
    (0x6C02, 1 << 60, r"host CR3 = 0x1000000000000000"),
    (0x0C02, 0, r"host CS selector = 0x0"),
    (0x6C16, 0x800000000000, r"host RIP = 0x800000000000"),
    (0x6800, 0x80000010, r"guest CR0 = 0x80000010: bit 0 is 0 but must be 1, because CR0.PG is 1"),
    (0x6804, 1 << 14 | 1 << 63, r"guest CR4 = 0x8000000000004000"),
    (0x6820, 0, r"guest RFLAGS = 0x0: bit 1 is 0 but must be 1"),
    (0x681E, 0xFFFF800000000000, r"guest RIP = 0xffff800000000000"),
    (0x4826, 7, r"guest activity state = 0x7: must be at most 3"),
    (0x4824, 3, r"guest interruptibility state = 0x3"),
    (0x4816, 0x9F, r"guest CS access rights = 0x9f: bit 15 is 0 but must be 1"),
    (0x4822, 0x10000, r"guest TR access rights = 0x10000"),
    (0x4810, 0x12345, r"guest GDTR limit = 0x12345"),
    (0x2806, 1 << 8 | 1 << 10, r"guest IA32_EFER = 0x500"),
    (0x2804, 2, r"guest IA32_PAT = 0x2"),
    (0x2800, 0x1001, r"VMCS link pointer = 0x1001"),
]


@pytest.mark.parametrize(
    ("field", "value", "message"), BROKEN, ids=[hex(row[0]) for row in BROKEN]
)
def test_a_broken_field_is_named(boot, field: int, value: int, message: str) -> None:
    """The checks before the entry name the field. With entry_checks=0, they run after the CPU has
    refused the entry."""
    words = f"break_field={field:#x} break_value={value:#x}"
    checked = boot(cmdline=words, guests=(hello(),))
    assert checked.exit == CODES.FAILED, checked
    assert checked.has(f"error: {message}"), checked
    assert checked.has("ended=entry-failed")

    refused = boot(cmdline=f"{words} entry_checks=0", guests=(hello(),))
    assert refused.has(r"VMLAUNCH failed, error \d|VM entry failed, reason 33"), refused
    assert refused.has(f"error: entry check: {message}"), refused
    assert refused.has("guest state|host state|control"), "no dump"


def test_a_field_that_does_not_exist(boot) -> None:
    result = boot(cmdline="break_field=0x6fff break_value=1", guests=(hello(),))
    assert result.exit == CODES.BAD_COMMAND_LINE, result
    assert result.has("break_field=0x6fff is not a VMCS field"), result
