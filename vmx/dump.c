/* SPDX-License-Identifier: MIT */
/* Prints the VMCS as text; see the header. Pure. */
#include "vmx/dump.h"

#include "lib/log.h"
#include "lib/string.h"
#include "vmx/errors.h"
#include "vmx/event.h"
#include "vmx/fields.h"
#include "arch/x86/regs.h"

#define LINE 96 /* a list of names is continued on a new line before this column */

#define LINE_MAX 200

static PRINTF(2, 3) void dump_say(const struct vmcs_dump *dump, const char *format, ...)
{
    char line[LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    dump->say(dump->ctx, line);
}

static unsigned long long dump_get(const struct vmcs_dump *dump, uint32_t field)
{
    return dump->read(dump->ctx, field) & BITS(vmcs_field_bits(field) - 1, 0);
}

/* Appends a text, after a comma unless it is the first. What does not fit is cut. */
static void dump_append(char *buffer, unsigned size, const char *text)
{
    size_t length = strlen(buffer);
    snprintf(buffer + length, size - length, "%s%s", length ? ", " : "", text);
}

static const char *system_type_name(unsigned type)
{
    switch (type) {
    case 1:
        return "available 16-bit TSS";
    case 2:
        return "LDT";
    case 3:
        return "busy 16-bit TSS";
    case 9:
        return "available TSS";
    case 11:
        return "busy TSS";
    default:
        return "no type of LDTR or TR";
    }
}

void vmcs_access_rights_text(uint32_t rights, char *buffer, unsigned size)
{
    char dpl[8];
    bool code = rights & 8;

    buffer[0] = 0;
    if (rights & SEG_AR_UNUSABLE) {
        dump_append(buffer, size, "unusable");
        return;
    }
    if (!(rights & SEG_AR_S)) {
        dump_append(buffer, size, system_type_name(rights & SEG_AR_TYPE));
    } else {
        dump_append(buffer, size, code ? "code" : "data");
        if (rights & 4)
            dump_append(buffer, size, code ? "conforming" : "expand-down");
        if (rights & 2)
            dump_append(buffer, size, code ? "readable" : "writable");
        if (rights & 1)
            dump_append(buffer, size, "accessed");
    }
    snprintf(dpl, sizeof(dpl), "DPL %u", rights >> 5 & 3);
    dump_append(buffer, size, dpl);
    dump_append(buffer, size, rights & SEG_AR_P ? "present" : "not present");
    if (rights & SEG_AR_S)
        dump_append(buffer, size,
                    rights & SEG_AR_L && code ? "64-bit"
                    : rights & SEG_AR_DB      ? "32-bit"
                                              : "16-bit");
    if (rights & SEG_AR_G)
        dump_append(buffer, size, "4K");
}

void vmcs_interruptibility_text(uint32_t state, char *buffer, unsigned size)
{
    static const char *const names[] = {"blocking by STI", "blocking by MOV SS", "blocking by SMI",
                                        "blocking by NMI", "enclave interruption"};
    buffer[0] = 0;
    for (unsigned bit = 0; bit < ARRAY_SIZE(names); bit++)
        if (state & BIT(bit))
            dump_append(buffer, size, names[bit]);
    if (state >> ARRAY_SIZE(names))
        dump_append(buffer, size, "reserved bits");
    if (!buffer[0])
        dump_append(buffer, size, "nothing is blocked");
}

void vmcs_event_text(uint32_t info, char *buffer, unsigned size)
{
    char vector[16];

    buffer[0] = 0;
    if (!(info & EVENT_INFO_VALID)) {
        dump_append(buffer, size, "no event");
        return;
    }
    dump_append(buffer, size, event_type_name((unsigned)field_get(info, EVENT_INFO_TYPE)));
    snprintf(vector, sizeof(vector), "vector %u", info & 0xff);
    dump_append(buffer, size, vector);
    if (info & EVENT_INFO_ERROR_CODE)
        dump_append(buffer, size, "error code");
    if (info & EVENT_INFO_NMI_UNBLOCKED)
        dump_append(buffer, size, "bit 12, NMI unblocking");
}

static void dump_segments(const struct vmcs_dump *dump)
{
    static const char *const names[] = {"ES", "CS", "SS", "DS", "FS", "GS", "LDTR", "TR"};
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        char text[96];
        uint32_t rights = (uint32_t)dump_get(dump, VMCS_GUEST_ES_ACCESS_RIGHTS + 2 * i);
        vmcs_access_rights_text(rights, text, sizeof(text));
        dump_say(dump, "  %-4s 0x%04llx base 0x%016llx limit 0x%08llx rights 0x%05x: %s", names[i],
                 dump_get(dump, VMCS_GUEST_ES_SELECTOR + 2 * i),
                 dump_get(dump, VMCS_GUEST_ES_BASE + 2 * i),
                 dump_get(dump, VMCS_GUEST_ES_LIMIT + 2 * i), rights, text);
    }
    dump_say(dump, "  GDTR base 0x%016llx limit 0x%04llx   IDTR base 0x%016llx limit 0x%04llx",
             dump_get(dump, VMCS_GUEST_GDTR_BASE), dump_get(dump, VMCS_GUEST_GDTR_LIMIT),
             dump_get(dump, VMCS_GUEST_IDTR_BASE), dump_get(dump, VMCS_GUEST_IDTR_LIMIT));
}

/* Returns true for every field that dump_segments() prints. */
static bool is_segment_field(uint32_t field)
{
    return (field >= VMCS_GUEST_ES_SELECTOR && field <= VMCS_GUEST_TR_SELECTOR) ||
           (field >= VMCS_GUEST_ES_LIMIT && field <= VMCS_GUEST_TR_ACCESS_RIGHTS) ||
           (field >= VMCS_GUEST_ES_BASE && field <= VMCS_GUEST_IDTR_BASE);
}

static bool dump_control_set(const struct vmcs_dump *dump, uint32_t field)
{
    for (enum control_set set = 0; set < CONTROL_SETS; set++) {
        if (vmx_control_field(set) != field)
            continue;
        char line[LINE + 64] = "";
        unsigned long long value = dump_get(dump, field);
        dump_say(dump, "  %s = 0x%llx:", vmcs_field_name(field), value);
        for (unsigned bit = 0; bit < 64; bit++) {
            char name[64];
            if (!(value & BIT(bit)) || !vmx_control_names(set, BIT(bit), name, sizeof(name)))
                continue;
            if (line[0] && strlen(line) + strlen(name) + 6 > LINE) {
                dump_say(dump, "    %s,", line);
                line[0] = 0;
            }
            dump_append(line, sizeof(line), name);
        }
        if (line[0])
            dump_say(dump, "    %s", line);
        return true;
    }
    return false;
}

/* Writes the meaning of a value, for the fields that have one. */
static void dump_meaning(uint32_t field, uint64_t value, char *buffer, unsigned size)
{
    static const char *const activity[] = {"active", "HLT", "shutdown", "wait-for-SIPI"};

    buffer[0] = 0;
    switch (field) {
    case VMCS_GUEST_ACTIVITY_STATE:
        dump_append(buffer, size,
                    value < ARRAY_SIZE(activity) ? activity[value] : "no activity state");
        break;
    case VMCS_GUEST_INTERRUPTIBILITY:
        vmcs_interruptibility_text((uint32_t)value, buffer, size);
        break;
    case VMCS_ENTRY_INTERRUPTION_INFO:
    case VMCS_EXIT_INTERRUPTION_INFO:
    case VMCS_IDT_VECTORING_INFO:
        vmcs_event_text((uint32_t)value, buffer, size);
        break;
    case VMCS_EXIT_REASON:
        dump_append(buffer, size, exit_reason_name((uint32_t)value));
        break;
    case VMCS_INSTRUCTION_ERROR:
        dump_append(buffer, size, vm_instruction_error_name((uint32_t)value));
        break;
    default:
        break;
    }
}

static void dump_field(const struct vmcs_dump *dump, uint32_t field)
{
    char text[128];
    unsigned long long value = dump_get(dump, field);
    dump_meaning(field, value, text, sizeof(text));
    dump_say(dump, "  %-42s 0x%0*llx%s%s", vmcs_field_name(field), (int)vmcs_field_bits(field) / 4,
             value, text[0] ? ": " : "", text);
}

/* Returns true if the field has been said. */
static bool dump_any(const struct vmcs_dump *dump, enum vmcs_section section, uint32_t field)
{
    bool zeros = section == VMCS_GUEST_STATE || section == VMCS_HOST_STATE;
    if (vmcs_field_section(field) != section || !vmx_field_exists(dump->msrs, field) ||
        is_segment_field(field))
        return false;
    if (dump_control_set(dump, field))
        return true;
    if (!zeros && !dump_get(dump, field))
        return false;
    dump_field(dump, field);
    return true;
}

bool vmcs_dump_piece(const struct vmcs_dump *dump, enum vmcs_section section, unsigned *at)
{
    static const char *const titles[] = {
        [VMCS_CONTROL] = "controls (without fields that are 0)",
        [VMCS_EXIT_INFO] = "exit information (without fields that are 0)",
        [VMCS_GUEST_STATE] = "guest state",
        [VMCS_HOST_STATE] = "host state",
    };
    if (!*at) {
        dump_say(dump, "VMCS %s:", titles[section]);
        if (section == VMCS_GUEST_STATE)
            dump_segments(dump);
    }
    for (unsigned said = 0; *at < vmcs_field_count && said < VMCS_DUMP_PIECE; ++*at)
        said += dump_any(dump, section, vmcs_fields[*at]);
    return *at < vmcs_field_count;
}

static void dump_log(void *ctx, const char *line)
{
    (void)ctx;
    log_info("%s", line);
}

void vmcs_dump(uint64_t (*read)(void *ctx, uint32_t field), void *ctx, const struct vmx_msrs *msrs)
{
    static const uint8_t sections[] = {VMCS_GUEST_STATE, VMCS_HOST_STATE, VMCS_CONTROL,
                                       VMCS_EXIT_INFO};
    struct vmcs_dump dump = {.read = read, .say = dump_log, .ctx = ctx, .msrs = msrs};
    for (unsigned i = 0; i < ARRAY_SIZE(sections); i++) {
        unsigned at = 0;
        while (vmcs_dump_piece(&dump, sections[i], &at))
            ;
    }
}
