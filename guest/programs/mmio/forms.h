/* SPDX-License-Identifier: MIT */
/*
 * The forms of MOV that access MMIO, as data: each form is one instruction with its effect on
 * memory and on RAX. forms.inc is the list; forms64.S, forms32.S and forms16.S assemble it for
 * three code sizes, and forms.c runs it in all CPU modes.
 */
#pragma once

#include "guest/programs/rt/rt.h"

struct form {
    const char *name;
    uint64_t code;
    uint64_t before, in; /* the memory and RAX before */
    uint64_t after, out; /* and after */
    uint32_t size;       /* bytes accessed */
    uint16_t write;      /* 1: writes, 0: reads */
    /* the instruction contains the address in FORM_PAGE, regardless of the registers */
    uint16_t is_absolute;
};

/* Every form accesses FORM_PAGE + FORM_OFFSET. Those that use a register or a segment base can also
 * access another page whose low 16 address bits are 0. */
#define FORM_PAGE   TESTDEV_A_BASE
#define FORM_OFFSET 0x10

enum form_mode {
    MODE_64,
    MODE_COMPAT_32,
    MODE_COMPAT_16,
    MODE_32_UNPAGED,
    MODE_32_PAGED, /* 4 MiB pages */
    MODE_32_PAE,
    MODE_16_PROTECTED,
    MODE_REAL, /* with segment bases loaded in protected mode */
};

/* Runs all forms of a mode on the test device at FORM_PAGE, and checks the device's counts. */
void forms_on_device(enum form_mode mode);

/* Runs all forms on RAM, which shows that the list itself is correct. */
void forms_on_ram(enum form_mode mode);

/* The argument of call_form() and legacy_call(). The assembly depends on the layout. */
struct form_call {
    uint32_t offset;
    uint16_t cs, ds;
    uint64_t rax, rdi;
    uint32_t cr0, cr3, cr4; /* legacy_call() only */
    uint32_t is_real;
};
_Static_assert(offsetof(struct form_call, rax) == 8 && offsetof(struct form_call, cr0) == 24 &&
                   offsetof(struct form_call, is_real) == 36,
               "legacy.S spells these offsets");

/* Runs the form in 64-bit or compatibility mode, and stores RAX in call->rax. */
void call_form(struct form_call *call);

/* Leaves long mode to run the form, and returns to it. The struct must lie below 4 GiB. */
void legacy_call(struct form_call *call);
