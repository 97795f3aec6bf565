# SPDX-License-Identifier: MIT
"""The ways in which a run of the harness can fail, and the status for each.

Statuses below 100 are the image's own (lib/exit_codes.h); these are the harness'.
"""

import enum
import signal
import sys
from collections.abc import Callable
from typing import NoReturn


class Status(enum.IntEnum):
    OK = 0
    GARBLED = 121  # the console has lost characters, and its results contradict each other
    RESTARTED = 122  # the machine began again before its EXIT line
    NOT_STARTED = 123  # something is missing or the request makes no sense
    TIMED_OUT = 124
    DIED = 125  # the emulator ended before the EXIT line
    DISAGREES = 126  # the exit code and the rest of the output contradict each other
    INTERRUPTED = 130


class HarnessError(Exception):
    """A message for the user: what cannot be done, and what to do."""


def run_tool(name: str, main: Callable[[], int]) -> NoReturn:
    """Runs the main function of a tool, which returns its exit status, and ends the process. `name`
    is the target of the Makefile that runs the tool; messages begin with it."""
    # SIGTERM has the effect of ^C, so that no emulator outlives the tool.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except HarnessError as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(Status.NOT_STARTED)
    except OSError as error:
        if not error.filename:
            raise
        print(f"{name}: {error.filename}: {error.strerror}", file=sys.stderr)
        sys.exit(Status.NOT_STARTED)
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        sys.exit(Status.INTERRUPTED)
