/* SPDX-License-Identifier: MIT */
/*
 * Prints the whole VMCS as text, in sections, into the log after a failed entry: segments with
 * decoded access rights, and control fields as the names of the bits that are set.
 *
 * Pure: the VMCS is read through a function, as for the entry checks. Not for fast paths.
 */
#pragma once

#include "vmx/controls.h"
#include "vmx/fields.h"

struct vmcs_dump {
    uint64_t (*read)(void *ctx, uint32_t field);
    void (*say)(void *ctx, const char *line);
    void *ctx;
    const struct vmx_msrs *msrs;
};

#define VMCS_DUMP_PIECE 6u /* fields in a piece; a field of controls takes up to 4 lines */

/* Says the next piece of a section; *at is 0 at first. Returns false if it was the last one. */
bool vmcs_dump_piece(const struct vmcs_dump *dump, enum vmcs_section section, unsigned *at);

/* Prints every field that exists on this CPU with log_info(). In the sections of controls and of
 * exit information, fields that are 0 are left out. */
void vmcs_dump(uint64_t (*read)(void *ctx, uint32_t field), void *ctx, const struct vmx_msrs *msrs);

/* Access rights as text: "code, readable, accessed, DPL 0, present, 64-bit, 4K". */
void vmcs_access_rights_text(uint32_t rights, char *buffer, unsigned size);

/* Interruptibility state as text: "blocking by STI, blocking by NMI", or "nothing is blocked". */
void vmcs_interruptibility_text(uint32_t state, char *buffer, unsigned size);

/* Interruption information as text: "hardware exception, vector 14, error code", or "no event". */
void vmcs_event_text(uint32_t info, char *buffer, unsigned size);
