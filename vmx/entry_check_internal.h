/* SPDX-License-Identifier: MIT */
/* The declarations that the files of the entry checks share; no other file includes this header. */
#pragma once

#include "arch/x86/reg_bits.h"
#include "vmx/entry_check.h"
#include "vmx/event.h"
#include "vmx/fields.h"

#define HIGH_HALF BITS(63, 32)

struct entry_checker {
    const struct entry_check_input *in;
    void (*report)(void *ctx, const struct entry_finding *finding);
    void *report_ctx;
    unsigned count;
    /* The effective controls. A bit that may not be 1 counts as 0, so that no check reads a field
     * that does not exist. */
    uint64_t set[CONTROL_SETS];
    bool ia32e; /* the control "IA-32e mode guest" */
    bool unrestricted;
    bool v8086;
    uint64_t cr0, rflags;
    uint32_t event; /* VM-entry interruption information, or 0 if it is not valid */
};

static inline bool entry_on(const struct entry_checker *c, enum control_set set, uint64_t mask)
{
    return c->set[set] & mask;
}

static inline unsigned entry_event_type(const struct entry_checker *c)
{
    return (unsigned)field_get(c->event, EVENT_INFO_TYPE);
}

/* Returns true if an event of this type is going to be injected. */
static inline bool entry_injects(const struct entry_checker *c, enum event_type type)
{
    return c->event && entry_event_type(c) == type;
}

/* Returns the field's value, truncated to the width of the field. */
uint64_t entry_get(const struct entry_checker *c, uint32_t field);

/* Reports "<field> = <value>: <what> (SDM <rule>)". `bit` is as in struct entry_finding. */
void entry_fail(struct entry_checker *c, uint32_t field, int bit, const char *rule,
                const char *what, ...) PRINTF(5, 6);

/* Checks that all bits of `mask` are 0 (1) and reports the lowest one that is not. `why` follows a
 * comma in the message; it may be NULL. */
void entry_must_be_0(struct entry_checker *c, uint32_t field, uint64_t mask, const char *rule,
                     const char *why);
void entry_must_be_1(struct entry_checker *c, uint32_t field, uint64_t mask, const char *rule,
                     const char *why);

/* Checks that the field is a canonical address. */
void entry_canonical(struct entry_checker *c, uint32_t field, const char *rule);
/* Checks an address whose bits from the linear-address width up must be equal, which is one bit
 * fewer than in a canonical address: RIP may point beyond the last instruction of the lower
 * half. */
void entry_next_to_canonical(struct entry_checker *c, uint32_t field, const char *rule);

/* Checks a physical address: the bits of `low` must be 0, and so must those beyond the
 * physical-address width, or beyond bit 31 if IA32_VMX_BASIC limits addresses to 32 bits. */
void entry_physical(struct entry_checker *c, uint32_t field, uint64_t low, const char *rule);
/* The bits beyond the physical-address width. */
uint64_t entry_beyond_physical(const struct entry_checker *c);

/* The checks that host and guest MSRs share. */
void entry_check_pat(struct entry_checker *c, uint32_t field, const char *rule);
void entry_check_cet(struct entry_checker *c, uint32_t s_cet, uint32_t ssp, uint32_t table,
                     const char *rule);

void entry_check_controls(struct entry_checker *c);
void entry_check_event(struct entry_checker *c);
void entry_check_host(struct entry_checker *c);
void entry_check_guest(struct entry_checker *c);
void entry_check_segments(struct entry_checker *c);
