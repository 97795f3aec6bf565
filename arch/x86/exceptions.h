/* SPDX-License-Identifier: MIT */
/* Exceptions in the hypervisor itself. All of them are fatal, except those of guarded instructions
 * (arch/x86/guarded.h). */
#pragma once

#include "lib/types.h"

struct exception_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    uint64_t vector, error_code;
    uint64_t rip, cs, rflags, rsp, ss;
};

/* Called by the stubs of arch/x86/vectors.S. Supplied by arch/x86/exceptions.c. */
void exception(struct exception_frame *frame);

/* The mnemonic and name of an exception, for example "#GP general protection". */
const char *exception_name(unsigned vector);
