/* SPDX-License-Identifier: MIT */
/* The functions by which the files of the entry checks state a rule. */
#include "lib/string.h"
#include "vmx/entry_check_internal.h"

uint64_t entry_get(const struct entry_checker *c, uint32_t field)
{
    return c->in->read(c->in->ctx, field) & BITS(vmcs_field_bits(field) - 1, 0);
}

void entry_fail(struct entry_checker *c, uint32_t field, int bit, const char *rule,
                const char *what, ...)
{
    struct entry_finding finding = {
        .field = field, .value = entry_get(c, field), .bit = bit, .rule = rule};
    char message[160];
    va_list arguments;

    va_start(arguments, what);
    vsnprintf(message, sizeof(message), what, arguments);
    va_end(arguments);
    snprintf(finding.text, sizeof(finding.text), "%s = 0x%llx: %s (SDM %s)", vmcs_field_name(field),
             (unsigned long long)finding.value, message, rule);
    c->count++;
    c->report(c->report_ctx, &finding);
}

/* Writes " (NMI exiting)" for a named bit of a control field, and nothing for any other bit. */
static void entry_bit_name(uint32_t field, int bit, char *name, unsigned size)
{
    name[0] = 0;
    for (enum control_set set = 0; set < CONTROL_SETS; set++) {
        char control[64];
        if (vmx_control_field(set) != field)
            continue;
        vmx_control_names(set, BIT(bit), control, sizeof(control));
        if (control[0] && strncmp(control, "bit ", 4))
            snprintf(name, size, " (%s)", control);
    }
}

static void entry_fail_bits(struct entry_checker *c, uint32_t field, uint64_t bits, unsigned is,
                            const char *rule, const char *why)
{
    char name[72];
    if (!bits)
        return;
    int bit = __builtin_ctzll(bits);
    entry_bit_name(field, bit, name, sizeof(name));
    entry_fail(c, field, bit, rule, "bit %d%s is %u but must be %u%s%s", bit, name, is, !is,
               why ? ", " : "", why ? why : "");
}

void entry_must_be_0(struct entry_checker *c, uint32_t field, uint64_t mask, const char *rule,
                     const char *why)
{
    entry_fail_bits(c, field, entry_get(c, field) & mask, 1, rule, why);
}

void entry_must_be_1(struct entry_checker *c, uint32_t field, uint64_t mask, const char *rule,
                     const char *why)
{
    entry_fail_bits(c, field, ~entry_get(c, field) & mask, 0, rule, why);
}

static bool is_equal_from(const struct entry_checker *c, uint32_t field, unsigned bit)
{
    uint64_t high = entry_get(c, field) >> bit;
    return high == 0 || high == ~0ull >> bit;
}

void entry_canonical(struct entry_checker *c, uint32_t field, const char *rule)
{
    unsigned top = c->in->linear_bits - 1;
    if (!is_equal_from(c, field, top))
        entry_fail(c, field, -1, rule, "not canonical, bits 63:%u must be equal", top);
}

void entry_next_to_canonical(struct entry_checker *c, uint32_t field, const char *rule)
{
    unsigned width = c->in->linear_bits;
    if (!is_equal_from(c, field, width))
        entry_fail(c, field, -1, rule, "bits 63:%u must be equal", width);
}

uint64_t entry_beyond_physical(const struct entry_checker *c)
{
    return ~BITS(c->in->maxphyaddr - 1, 0);
}

void entry_physical(struct entry_checker *c, uint32_t field, uint64_t low, const char *rule)
{
    uint64_t beyond = entry_beyond_physical(c);
    if (c->in->msrs->basic & BASIC_32BIT_ADDRESSES)
        beyond |= HIGH_HALF;
    entry_must_be_0(c, field, low, rule, "the address must be aligned");
    entry_must_be_0(c, field, beyond, rule, "beyond the physical-address width");
}

/* Each byte of the PAT must be one of UC, WC, WT, WP, WB and UC-. */
void entry_check_pat(struct entry_checker *c, uint32_t field, const char *rule)
{
    uint64_t pat = entry_get(c, field);
    for (unsigned i = 0; i < 8; i++) {
        unsigned type = (unsigned)(pat >> (8 * i) & 0xff);
        if (type > 7 || type == 2 || type == 3)
            entry_fail(c, field, (int)(8 * i), rule,
                       "PAT entry %u is %u, which is not a memory type", i, type);
    }
}

void entry_check_cet(struct entry_checker *c, uint32_t s_cet, uint32_t ssp, uint32_t table,
                     const char *rule)
{
    entry_must_be_0(c, s_cet, BITS(9, 6), rule, "reserved");
    if ((entry_get(c, s_cet) & BITS(11, 10)) == BITS(11, 10))
        entry_fail(c, s_cet, 10, rule, "SUPPRESS and TRACKER are both 1");
    entry_canonical(c, s_cet, rule);
    entry_must_be_0(c, ssp, BITS(1, 0), rule, "the address must be aligned");
    entry_canonical(c, ssp, rule);
    entry_canonical(c, table, rule);
}
