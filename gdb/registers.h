/* SPDX-License-Identifier: MIT */
/*
 * The registers that GDB is told of, in two descriptions: x86-64, and i386 for guests that are not
 * in IA-32e mode when GDB connects. From one table come the target description, the numbers of the
 * registers and the order of the packets g and G. Pure.
 */
#pragma once

#include "lib/types.h"

/* Which register a place in the table is; `index` is a number within each kind. */
enum gdb_kind {
    GDB_GPR,         /* index: enum gpr */
    GDB_CPU_REG,     /* index: enum cpu_reg */
    GDB_ST,          /* the x87 registers, 10 bytes */
    GDB_X87_CONTROL, /* fctrl, fstat, ftag, fiseg, fioff, foseg, fooff, fop */
    GDB_XMM,
    GDB_MXCSR,
    GDB_YMM_HIGH, /* the upper halves of the YMM registers */
    GDB_CR2,
    GDB_CR8,
};

#define GDB_REGISTER_MAX 16 /* bytes */

struct gdb_register {
    enum gdb_kind kind;
    unsigned index;
    unsigned size; /* bytes */
};

struct gdb_description;
extern const struct gdb_description gdb_x86_64, gdb_i386;

/* Returns the register with this number, in *found, or false if there is none. Without `avx` the
 * upper halves of the YMM registers are left out. */
bool gdb_register(const struct gdb_description *description, bool avx, unsigned number,
                  struct gdb_register *found);

/* Writes `size` bytes of the target description from `offset` on to `text`, which has room for
 * them. Returns their number: less at the end. */
size_t gdb_describe(const struct gdb_description *description, bool avx, size_t offset, char *text,
                    size_t size);
