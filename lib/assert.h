/*
 * Assertions, always on. BUG_ON stops the machine with registers and a backtrace; WARN_ON prints,
 * makes the run fail, and yields the condition so that the caller can bail out.
 * The hosted tests have a bug() and a warn() of their own, and check that they were called.
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
