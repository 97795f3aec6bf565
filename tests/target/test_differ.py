# SPDX-License-Identifier: MIT
"""Compares the emulator with the CPU: a hundred thousand generated instructions, on RAM and on a
device."""

from conftest import BUILD, CODES

from harness.boot import parse_guests

CASES = 34000  # for each of the three code sizes


def test_a_hundred_thousand_instructions(boot) -> None:
    guest = BUILD / "guest" / "differ.elf"
    guests = parse_guests(f"{guest}:testctl,budget=600000:{CASES}")
    result = boot(guests=guests, timeout=600)
    assert result.exit == CODES.OK, result
    cases = [case for case in result.output.cases if "cases" in case.counters]
    assert len(cases) == 3, result
    assert sum(case.counters["cases"] for case in cases) == 3 * CASES >= 100_000
    assert all(case.counters["different"] == 0 for case in cases), result
