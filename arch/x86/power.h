/* SPDX-License-Identifier: MIT */
/* The end of a run. */
#pragma once

#include "lib/compiler.h"
#include "lib/exit_codes.h"

enum on_exit {
    ON_EXIT_POWEROFF,
    ON_EXIT_REBOOT,
    ON_EXIT_HALT,
};

/* What machine_exit() does after its last line. */
void machine_set_on_exit(enum on_exit action);

/* Prints `EXIT code name`, drains the serial port and powers off, reboots or halts. */
NORETURN void machine_exit(enum exit_code code);
