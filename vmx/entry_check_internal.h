/* What the files of the entry checks share; nobody else includes this. */
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
    /* The controls in force: bits that may not be 1 count as 0, so that no check reads a field that
     * does not exist. */
    uint64_t word[CONTROL_WORDS];
    bool ia32e; /* IA-32e mode guest */
    bool unrestricted;
    bool v8086;
    uint64_t cr0, rflags;
    uint32_t event; /* VM-entry interruption information, 0 unless valid */
};

static inline bool entry_on(const struct entry_checker *c, enum control_word word, uint64_t mask)
{
    return c->word[word] & mask;
}

static inline unsigned entry_event_type(const struct entry_checker *c)
{
    return (unsigned)field_get(c->event, EVENT_INFO_TYPE);
}

/* True if an event of this type is about to be injected. */
static inline bool entry_injects(const struct entry_checker *c, enum event_type type)
{
    return c->event && entry_event_type(c) == type;
}

/* The field's value, no wider than the field. */
uint64_t entry_get(const struct entry_checker *c, uint32_t field);

/* Reports "<field> = <value>: <what> (SDM <rule>)"; `bit` as in the finding. */
void entry_fail(struct entry_checker *c, uint32_t field, int bit, const char *rule,
                const char *what, ...) PRINTF(5, 6);

/* Bits under `mask` that are 1 (0) though they must be 0 (1), named by the lowest of them. `why`
 * follows a comma, or is NULL. */
void entry_must_be_0(struct entry_checker *c, uint32_t field, uint64_t mask, const char *rule,
                     const char *why);
void entry_must_be_1(struct entry_checker *c, uint32_t field, uint64_t mask, const char *rule,
                     const char *why);

/* An address that must be canonical. */
void entry_canonical(struct entry_checker *c, uint32_t field, const char *rule);
/* One that may also stand right behind those of its half: RIP after the last instruction there. */
void entry_next_to_canonical(struct entry_checker *c, uint32_t field, const char *rule);

/* A physical address: the bits under `low` are 0, and those beyond the physical-address width. */
void entry_physical(struct entry_checker *c, uint32_t field, uint64_t low, const char *rule);
/* The bits beyond the width of physical addresses, which VMX may narrow to 32. */
uint64_t entry_beyond_physical(const struct entry_checker *c);

/* The rules that host and guest MSRs share. */
void entry_check_pat(struct entry_checker *c, uint32_t field, const char *rule);
void entry_check_cet(struct entry_checker *c, uint32_t s_cet, uint32_t ssp, uint32_t table,
                     const char *rule);

void entry_check_controls(struct entry_checker *c);
void entry_check_event(struct entry_checker *c);
void entry_check_host(struct entry_checker *c);
void entry_check_guest(struct entry_checker *c);
void entry_check_segments(struct entry_checker *c);
