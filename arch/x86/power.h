/* SPDX-License-Identifier: MIT */
/* The end of a run. */
#pragma once

#include "lib/compiler.h"
#include "lib/exit_codes.h"

#include <stdbool.h>

enum on_exit {
    ON_EXIT_POWEROFF,
    ON_EXIT_REBOOT,
    ON_EXIT_HALT,
};

/* What machine_exit() does after its last line. */
void machine_set_on_exit(enum on_exit action);

/* machine_exit() shows the log on the screen page by page, if it does not fit on one. */
void machine_set_pause(bool pause);

/* A line with the results of the run, which stands below the verdict on the screen. Without one,
 * the last error stands there. */
#define MACHINE_RESULTS_MAX 160
void machine_set_results(const char *results);

/* Prints `EXIT code name`, shows the verdict on the screen, drains the serial port, and powers off,
 * reboots or halts. A machine with a screen is powered off after MACHINE_HOLD_SECONDS or at a key,
 * so that the verdict can be read; an emulator is ended at once. */
#define MACHINE_HOLD_SECONDS 30
NORETURN void machine_exit(enum exit_code code);
