# SPDX-License-Identifier: MIT
"""The ways in which a run of the harness can fail, and the status for each.

Statuses below 100 are the image's own (lib/exit_codes.h); these are the harness'.
"""

import enum


class Status(enum.IntEnum):
    OK = 0
    NOT_STARTED = 123  # something is missing or the request makes no sense
    TIMED_OUT = 124
    DIED = 125  # the emulator ended before the EXIT line
    DISAGREES = 126  # the exit code and the rest of the output contradict each other
    INTERRUPTED = 130


class HarnessError(Exception):
    """A message for the user: what cannot be done, and what to do."""
