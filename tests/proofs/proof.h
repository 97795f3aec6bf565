/* SPDX-License-Identifier: MIT */
/* The language of the proofs, for CBMC. Each program includes this in exactly one file. */
#pragma once

#include "lib/assert.h"
#include "lib/log.h"

uint64_t nondet_u64(void);
unsigned nondet_unsigned(void);
_Bool nondet_bool(void);
void __CPROVER_assume(_Bool condition);
void __CPROVER_assert(_Bool condition, const char *text);

#define ASSUME(condition) __CPROVER_assume(condition)
#define PROVE(condition)  __CPROVER_assert(condition, #condition)

/* Stand-ins: nothing is printed, and a BUG or WARN makes the proof fail. */
void log_line(enum log_level level, const char *format, ...)
{
    (void)level, (void)format;
}
void bug(const char *file, int line, const char *condition)
{
    (void)file, (void)line, (void)condition;
    PROVE(!"BUG_ON");
    ASSUME(0);
}
void warn(const char *file, int line, const char *condition)
{
    (void)file, (void)line, (void)condition;
    PROVE(!"WARN_ON");
}
