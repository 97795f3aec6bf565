/* SPDX-License-Identifier: MIT */
/*
 * Fetches the bytes of a TD's instruction after an exit: a walk of the guest's page tables and a
 * read of private memory. Pure.
 *
 * The CPU has just fetched and decoded the instruction, so the walk checks no rights, and sets no
 * accessed bits. Another vCPU may change tables and bytes meanwhile. The caller compares the result
 * with the bytes of TDCALL, and gives the guest #UD if they differ or cannot be read. Both answers
 * concern this TD alone: a sibling that turns a UD2 into a TDCALL, or the other way round, can only
 * change what its own TD is answered, and could have done so before the instruction was executed.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The state on which the translation depends. */
struct td_fetch {
    /* Reads private memory; returns false if there is none, or if it is not accepted. */
    bool (*read)(void *context, gpa_t gpa, void *buffer, size_t size);
    void *context;
    unsigned gpa_width; /* of the TD, with the shared bit; instructions and tables are private */
    bool code64;        /* otherwise linear addresses have 32 bits */
    uint64_t cr0, cr3, cr4, efer;
    uint64_t pdptes[4]; /* PAE paging: the registers */
};

/* Reads `size` bytes from linear address `linear` on. Returns false if a byte is not mapped, not in
 * private memory, or not there. */
bool td_fetch(const struct td_fetch *fetch, uint64_t linear, uint8_t *bytes,
              size_t size) MUST_CHECK;

#define TDCALL_LENGTH 4

/* Is the instruction at this address TDCALL, 66 0F 01 CC? With any further prefix it is not
 * recognised. */
bool td_fetch_is_tdcall(const struct td_fetch *fetch, uint64_t linear) MUST_CHECK;
