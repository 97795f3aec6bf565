# SPDX-License-Identifier: MIT
"""How `make tdx-compliance` judges what Intel's compliance tests print."""

import compliance

PRINTED = """\
    # compliance of cpuid
    CPUID: CPUID(0x1,0).ecx[2]_1.5
    CPUID    :eax(00000000) ebx(00000000) ecx(00000000) edx(00000000)
    17: CPUID(0x1,0).ecx[1]_1.5:\t PASS
    18: CPUID(0x1,0).ecx[2]_1.5:\t FAIL
    177: CPUID(0x7,0x1).edx[4]_1.5:\t FAIL
    200: CPUID(0x3,0).eax[31:0]_1.5:\t NRUN
    Total:4, PASS:1, FAIL:2, SKIP:1
    11: MSR_IA32_SPEC_CTRL_read_1.5:\t FAIL
    12: MSR_IA32_TSC_read_1.5:\t PASS
"""


def test_results_are_counted() -> None:
    passed, number, failed = compliance.judge(PRINTED)
    assert (passed, number) == (2, 6)
    assert failed == [
        "CPUID(0x1,0).ecx[2]", "CPUID(0x7,0x1).edx[4]", "CPUID(0x3,0).eax[31:0]",
        "MSR_IA32_SPEC_CTRL_read",
    ]  # fmt: skip


def test_each_failure_needs_a_reason() -> None:
    known = compliance.reasons()
    assert "debug store" in compliance.reason_of("CPUID(0x1,0).ecx[2]", known)
    assert compliance.reason_of("CPUID(0x7,0x1).edx[4]", known)
    assert compliance.reason_of("MSR_IA32_SPEC_CTRL_read", known)
    assert not compliance.reason_of("CPUID(0x1,0).ecx[3]", known)  # brackets are no pattern
    assert not compliance.reason_of("CPUID(0x7,0x1).eax[4]", known)
    assert not compliance.reason_of("MSR_IA32_TSC_read", known)
    assert all(why for _, why in known)
