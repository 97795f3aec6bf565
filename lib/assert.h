/* SPDX-License-Identifier: MIT */
/*
 * Assertions, which every build contains. BUG_ON() prints its condition and a backtrace and stops
 * the machine. WARN_ON() prints the same, makes the run end with `EXIT 3 warned`, and returns the
 * condition so that the caller can bail out. The hosted tests supply bug() and warn() themselves
 * and check that they were called.
 */
#pragma once

#include "lib/compiler.h"

#include <stdbool.h>

/* Supplied by arch/x86/backtrace.c. */
NORETURN void bug(const char *file, int line, const char *condition);
void warn(const char *file, int line, const char *condition);

#define BUG_ON(condition)                        \
    do {                                         \
        if (unlikely(condition))                 \
            bug(__FILE__, __LINE__, #condition); \
    } while (0)

#define WARN_ON(condition)                        \
    ({                                            \
        bool warn_condition = (condition);        \
        if (unlikely(warn_condition))             \
            warn(__FILE__, __LINE__, #condition); \
        unlikely(warn_condition);                 \
    })
