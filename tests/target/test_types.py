# SPDX-License-Identifier: MIT
"""The address types are distinct: passing one type where another one is expected does not
compile."""

import itertools
import subprocess

import pytest
from conftest import ROOT

TYPES = ("gva_t", "gpa_t", "gfn_t", "hpa_t", "hva_t")


def compiles(body: str) -> bool:
    text = f'#include "lib/types.h"\n{body}\n'
    return subprocess.run(["gcc", "-I.", "-fsyntax-only", "-x", "c", "-"], input=text, text=True,
                          cwd=ROOT, capture_output=True, check=False).returncode == 0  # fmt: skip


@pytest.mark.parametrize(("meant", "given"), itertools.product(TYPES, [*TYPES, "uint64_t"]))
def test_mixing_does_not_compile(meant: str, given: str) -> None:
    body = f"void take({meant} a); void give({given} b); void give({given} b) {{ take(b); }}"
    assert compiles(body) == (meant == given)
