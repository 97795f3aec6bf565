# SPDX-License-Identifier: MIT
"""How a run of the harness can go wrong, and the status that says so.

Statuses below 100 are the image's own (lib/exit_codes.h); these are ours.
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
    """A sentence for the user: what can't be done, and what to do."""
