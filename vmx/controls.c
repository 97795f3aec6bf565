/* SPDX-License-Identifier: MIT */
/*
 * Negotiates the VMX controls: computes the control fields of a new VMCS from the capability MSRs
 * and the table in control_table.c, and refuses a CPU that lacks a required control with a message.
 */
#include "vmx/controls.h"

#include "arch/x86/reg_bits.h"
#include "lib/bit_words.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"
#include "vmx/fields.h"

/* The default1 bits that have no name: reserved bits that must be 1 on every CPU without the TRUE
 * MSRs (SDM 3, A.2). They have no meaning and are not printed. Default1 bits that have a name are
 * not included. */
static const uint64_t reserved_ones[CONTROL_SETS] = {
    [CONTROL_PIN] = BIT(1) | BIT(2) | BIT(4),
    [CONTROL_PRIMARY] = BIT(1) | BITS(6, 4) | BIT(8) | BITS(14, 13) | BIT(26),
    [CONTROL_EXIT] = BITS(1, 0) | BITS(8, 3) | BITS(11, 10) | BITS(14, 13) | BITS(17, 16),
    [CONTROL_ENTRY] = BITS(1, 0) | BITS(8, 3) | BIT(12),
};

static const struct {
    const char *name;
    uint32_t field;
} sets[CONTROL_SETS] = {
    [CONTROL_PIN] = {"pin-based", VMCS_PIN_CONTROLS},
    [CONTROL_PRIMARY] = {"primary", VMCS_PRIMARY_CONTROLS},
    [CONTROL_SECONDARY] = {"secondary", VMCS_SECONDARY_CONTROLS},
    [CONTROL_TERTIARY] = {"tertiary", VMCS_TERTIARY_CONTROLS},
    [CONTROL_EXIT] = {"VM-exit", VMCS_EXIT_CONTROLS},
    [CONTROL_ENTRY] = {"VM-entry", VMCS_ENTRY_CONTROLS},
};

const char *vmx_control_set_name(enum control_set set)
{
    return sets[set].name;
}

uint32_t vmx_control_field(enum control_set set)
{
    return sets[set].field;
}

/* The capability MSR of a 32-bit control field: bits 31:0 are the allowed 0-settings, bits 63:32
 * the allowed 1-settings. */
static uint64_t ruling_msr(const struct vmx_msrs *msrs, enum control_set set)
{
    bool exact = msrs->basic & BASIC_TRUE_CONTROLS;
    switch (set) {
    case CONTROL_PIN:
        return exact ? msrs->true_pin : msrs->pin;
    case CONTROL_PRIMARY:
        return exact ? msrs->true_primary : msrs->primary;
    case CONTROL_EXIT:
        return exact ? msrs->true_exit : msrs->exit;
    case CONTROL_ENTRY:
        return exact ? msrs->true_entry : msrs->entry;
    case CONTROL_SECONDARY:
        return vmx_may_be_1(msrs, CONTROL_PRIMARY) & PRIMARY_SECONDARY_CONTROLS ? msrs->secondary
                                                                                : 0;
    default:
        return 0;
    }
}

uint64_t vmx_must_be_1(const struct vmx_msrs *msrs, enum control_set set)
{
    return ruling_msr(msrs, set) & BITS(31, 0);
}

uint64_t vmx_may_be_1(const struct vmx_msrs *msrs, enum control_set set)
{
    if (set == CONTROL_TERTIARY)
        return vmx_may_be_1(msrs, CONTROL_PRIMARY) & PRIMARY_TERTIARY_CONTROLS ? msrs->tertiary : 0;
    return ruling_msr(msrs, set) >> 32;
}

/* Returns true if the CPU allows the settings of the control that the hypervisor needs. */
static bool control_allowed(const struct vmx_msrs *msrs, const struct control *control)
{
    bool may = vmx_may_be_1(msrs, control->set) & control->mask;
    bool must = vmx_must_be_1(msrs, control->set) & control->mask;
    return control->need == CONTROL_TOGGLED ? may && !must : may;
}

static bool control_demanded(const struct control *control)
{
    return control->need == CONTROL_REQUIRED || control->need == CONTROL_TOGGLED;
}

/* Prints the missing controls in one line; the list ends where the line would be cut. */
static void controls_refuse(const struct vmx_msrs *msrs)
{
    char list[144];
    unsigned length = 0, more = 0;

    for (unsigned i = 0; i < vmx_control_count; i++) {
        const struct control *control = &vmx_control_table[i];
        if (!control_demanded(control) || control_allowed(msrs, control))
            continue;
        size_t need = strlen(control->name) + 4;
        if (more || length + need >= sizeof(list))
            more++;
        else
            length += (unsigned)snprintf(list + length, sizeof(list) - length, "%s\"%s\"",
                                         length ? ", " : "", control->name);
    }
    char rest[24] = "";
    if (more)
        snprintf(rest, sizeof(rest), " and %u more", more);
    log_error("this CPU's VMX lacks %s%s: use a CPU with EPT and unrestricted guest", list, rest);
}

int vmx_negotiate(const struct vmx_msrs *msrs, struct vmx_controls *out)
{
    memset(out, 0, sizeof(*out));
    for (unsigned i = 0; i < vmx_control_count; i++) {
        const struct control *control = &vmx_control_table[i];
        if (control->need == CONTROL_REQUIRED || control->need == CONTROL_OPTIONAL)
            out->set[control->set] |= control->mask;
        if (!out->missing && control_demanded(control) && !control_allowed(msrs, control))
            out->missing = control;
    }
    for (enum control_set set = 0; set < CONTROL_SETS; set++) {
        out->set[set] |= vmx_must_be_1(msrs, set);
        out->set[set] &= vmx_may_be_1(msrs, set);
    }
    if (!out->missing)
        return 0;
    controls_refuse(msrs);
    return -ENODEV;
}

/* Prints the wanted controls that are allowed, as a list in lines of at most 100 columns. */
static void log_allowed(const struct vmx_msrs *msrs, enum control_set set)
{
    char line[100];
    int used = 0;
    for (unsigned i = 0; i < vmx_control_count; i++) {
        const struct control *control = &vmx_control_table[i];
        if (control->set != set || control->need == CONTROL_UNWANTED ||
            !control_allowed(msrs, control))
            continue;
        if (used && used + (int)strlen(control->name) + 3 > (int)sizeof(line)) {
            log_info("%s,", line);
            used = 0;
        }
        used += used ? snprintf(line + used, sizeof(line) - (size_t)used, ", %s", control->name)
                     : snprintf(line, sizeof(line), "  %-9s ok: %s", sets[set].name, control->name);
    }
    if (used)
        log_info("%s", line);
}

/* Prints the wanted controls that are not allowed. */
static void log_missing(const struct vmx_msrs *msrs, enum control_set set)
{
    for (unsigned i = 0; i < vmx_control_count; i++) {
        const struct control *control = &vmx_control_table[i];
        if (control->set == set && control->need != CONTROL_UNWANTED &&
            !control_allowed(msrs, control))
            log_info("  %-9s %s: %s (%s)", sets[set].name,
                     control_demanded(control) ? "MISSING" : "missing (optional)", control->name,
                     control->why);
    }
}

/* Prints the unwanted controls that must be 1 on this CPU. */
static void log_forced(const struct vmx_msrs *msrs, enum control_set set)
{
    uint64_t forced = vmx_must_be_1(msrs, set) & ~reserved_ones[set];
    char names[160];
    for (unsigned i = 0; i < vmx_control_count; i++) {
        const struct control *control = &vmx_control_table[i];
        if (control->set == set &&
            (control->need == CONTROL_REQUIRED || control->need == CONTROL_OPTIONAL))
            forced &= ~control->mask;
    }
    if (vmx_control_names(set, forced, names, sizeof(names)))
        log_info("  %-9s forced on: %s", sets[set].name, names);
}

void vmx_controls_log(const struct vmx_msrs *msrs)
{
    log_info("VMX controls: revision 0x%x, %s capability MSRs",
             (unsigned)(msrs->basic & BASIC_REVISION),
             msrs->basic & BASIC_TRUE_CONTROLS ? "TRUE" : "old");
    for (enum control_set set = 0; set < CONTROL_SETS; set++) {
        log_allowed(msrs, set);
        log_missing(msrs, set);
        log_forced(msrs, set);
    }
}

unsigned vmx_control_names(enum control_set set, uint64_t value, char *buffer, unsigned size)
{
    struct bit_word words[64];
    unsigned count = 0;
    for (unsigned i = 0; i < vmx_control_count; i++)
        if (vmx_control_table[i].set == set)
            words[count++] =
                (struct bit_word){vmx_control_table[i].mask, vmx_control_table[i].name};
    return bit_words(value & ~reserved_ones[set], words, count, buffer, size);
}

uint64_t vmx_cr0_must_be_1(const struct vmx_msrs *msrs, bool unrestricted)
{
    return msrs->cr0_fixed0 & ~(unrestricted ? BIT(31) | BIT(0) : 0);
}

uint64_t vmx_cr0_may_be_1(const struct vmx_msrs *msrs)
{
    return msrs->cr0_fixed1;
}

uint64_t vmx_cr4_must_be_1(const struct vmx_msrs *msrs)
{
    return msrs->cr4_fixed0;
}

uint64_t vmx_cr4_may_be_1(const struct vmx_msrs *msrs)
{
    return msrs->cr4_fixed1;
}

uint64_t vmx_cr4_in_use(const struct vmx_msrs *msrs, uint64_t value)
{
    return (value | vmx_cr4_must_be_1(msrs) | CR4_MCE) & vmx_cr4_may_be_1(msrs);
}
