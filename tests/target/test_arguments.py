# SPDX-License-Identifier: MIT
"""Hypercalls whose arguments do not fit."""

from conftest import BUILD, Guest


def test_upper_bits_are_refused(boot) -> None:
    result = boot(guests=(Guest(BUILD / "guest/arguments.elf", ("testctl",)),))
    assert result.status == 0, result
