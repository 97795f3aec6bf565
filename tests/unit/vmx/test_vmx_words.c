/* SPDX-License-Identifier: MIT */
/* VMX's numbers in words: errors, exit reasons, failed entries, and the dump of a VMCS. */
#include "tests/unit/support.h"

#include "tests/unit/vmx/test_vmx_image.h"
#include "tests/unit/vmx/test_vmx_models.h"
#include "vmx/dump.h"
#include "vmx/errors.h"

static struct image image;

static int setup(void **state)
{
    (void)state;
    support_reset();
    return 0;
}

static void exit_reasons(void **state)
{
    (void)state;
    assert_string_equal(exit_reason_name(0), "exception or NMI");
    assert_string_equal(exit_reason_name(48), "EPT violation");
    assert_string_equal(exit_reason_name(49), "EPT misconfiguration");
    assert_string_equal(exit_reason_name(0x80000021), "entry failed: invalid guest state");
    assert_string_equal(exit_reason_name(35), "unknown exit reason");
    assert_string_equal(exit_reason_name(0xffff), "unknown exit reason");
    assert_int_equal(REASON_COUNT, 86);

    unsigned known = 0;
    for (uint32_t i = 0; i < REASON_COUNT; i++)
        known += strcmp(exit_reason_name(i), "unknown exit reason") != 0;
    assert_int_equal(known, REASON_COUNT - 6); /* without 35, 38, 42, 71, 82 and 83 */
}

static void instruction_errors(void **state)
{
    (void)state;
    assert_string_equal(vm_instruction_error_name(7), "VM entry with invalid control field(s)");
    assert_string_equal(vm_instruction_error_name(14), "unknown VM-instruction error");
    assert_string_equal(vm_instruction_error_name(0), "no error");
    assert_string_equal(vm_instruction_error_name(~0u), "unknown VM-instruction error");
    unsigned known = 0;
    for (uint32_t i = 1; i <= 40; i++) {
        known += strcmp(vm_instruction_error_name(i), "unknown VM-instruction error") != 0;
        assert_true(strlen(vm_instruction_error_hint(i)) > 10);
    }
    assert_int_equal(known, 25); /* 1 to 28 without 14, 21 and 27 */

    vm_instruction_error_log("VMLAUNCH", 8);
    assert_string_equal(support_log(),
                        "VMLAUNCH failed, error 8: VM entry with invalid host-state field(s); run "
                        "the entry checks: they name the field (SDM 27.2.2 to 27.2.4)\n");
    support_reset();
    vm_instruction_error_log("VMREAD", 0);
    assert_string_equal(support_log(), "VMREAD failed, error 0: no error; no VMCS is current, so "
                                       "there is no error number: VMPTRLD one first\n");
}

static void entry_failures(void **state)
{
    (void)state;
    static const struct {
        uint32_t reason;
        uint64_t qualification;
        const char *text;
    } rows[] = {
        {0x80000021, 0,
         "VM entry failed, reason 33: invalid guest state, qualification 0; run the entry checks: "
         "they name the field (SDM 27.3.1)\n"},
        {0x80000021, 2,
         "VM entry failed, reason 33: invalid guest state, qualification 2; a PDPTE has a "
         "reserved bit set (SDM 27.3.1.6)\n"},
        {0x80000021, 3,
         "VM entry failed, reason 33: invalid guest state, qualification 3; an NMI was injected "
         "while events were blocked by STI (SDM 27.3.1.5)\n"},
        {0x80000021, 4,
         "VM entry failed, reason 33: invalid guest state, qualification 4; the VMCS link pointer "
         "does not point to a VMCS of this CPU's revision (SDM 27.3.1.5)\n"},
        {0x80000021, 9,
         "VM entry failed, reason 33: invalid guest state, qualification 9; the exit "
         "qualification is not one that the SDM defines\n"},
        {0x80000022, 3,
         "VM entry failed, reason 34: MSR loading; entry 3 of the VM-entry MSR-load area, counted "
         "from 1, is at fault (SDM 27.4)\n"},
        {0x80000029, 0,
         "VM entry failed, reason 41: machine-check event; the VMCS is not at fault, and the next "
         "lines say what the machine-check banks hold\n"},
        {0x80000030, 0,
         "VM entry failed, reason 48: EPT violation; the SDM defines 33, 34 and 41 only\n"},
        {0x00000021, 0, "exit reason 0x21: the entry succeeded; bit 31 would say that it failed\n"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        support_reset();
        entry_failure_log(rows[i].reason, rows[i].qualification);
        assert_string_equal(support_log(), rows[i].text);
    }
}

static void access_rights(void **state)
{
    (void)state;
    static const struct {
        uint32_t rights;
        const char *words;
    } rows[] = {
        /* L has a meaning only in code segments. */
        {0xa09b, "code, readable, accessed, DPL 0, present, 64-bit, 4K"},
        {0xc09b, "code, readable, accessed, DPL 0, present, 32-bit, 4K"},
        {0x009f, "code, conforming, readable, accessed, DPL 0, present, 16-bit"},
        {0xc0f3, "data, writable, accessed, DPL 3, present, 32-bit, 4K"},
        {0x0014, "data, expand-down, DPL 0, not present, 16-bit"},
        {0x2093, "data, writable, accessed, DPL 0, present, 16-bit"},
        {0x008b, "busy TSS, DPL 0, present"},
        {0x0081, "available 16-bit TSS, DPL 0, present"},
        {0x0083, "busy 16-bit TSS, DPL 0, present"},
        {0x0089, "available TSS, DPL 0, present"},
        {0x0082, "LDT, DPL 0, present"},
        {0x008c, "no type of LDTR or TR, DPL 0, present"},
        {0x10000, "unusable"},
        {0x1c093, "unusable"},
    };
    char text[96];
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        vmcs_access_rights_text(rows[i].rights, text, sizeof(text));
        assert_string_equal(text, rows[i].words);
    }
    char small[10]; /* cut, and terminated */
    vmcs_access_rights_text(0xa09b, small, sizeof(small));
    assert_string_equal(small, "code, rea");
}

static void states(void **state)
{
    (void)state;
    char text[128];
    vmcs_interruptibility_text(0, text, sizeof(text));
    assert_string_equal(text, "nothing is blocked");
    vmcs_interruptibility_text(9, text, sizeof(text));
    assert_string_equal(text, "blocking by STI, blocking by NMI");
    vmcs_interruptibility_text(0x96, text, sizeof(text));
    assert_string_equal(text, "blocking by MOV SS, blocking by SMI, enclave interruption, "
                              "reserved bits");
    vmcs_event_text(0x80000b0e, text, sizeof(text));
    assert_string_equal(text, "hardware exception, vector 14, error code");
    vmcs_event_text(0x80001202, text, sizeof(text));
    assert_string_equal(text, "NMI, vector 2, bit 12, NMI unblocking");
    vmcs_event_text(0x00000b0e, text, sizeof(text));
    assert_string_equal(text, "no event");
}

static void contains(const char *line)
{
    if (!strstr(support_log(), line))
        fail_msg("the dump lacks: %s\nit says:\n%s", line, support_log());
}

/* image_read() fails the test if a field is read that the CPU does not have. */
static void dumped(void **state)
{
    (void)state;
    image_make(&image, &icelake_u, LONG);
    image.value[VMCS_EXIT_REASON] = 0x80000021;
    image.value[VMCS_INSTRUCTION_ERROR] = 7;
    image.value[VMCS_GUEST_ACTIVITY_STATE] = 1;
    image.value[VMCS_GUEST_INTERRUPTIBILITY] = 8;
    image.value[VMCS_IDT_VECTORING_INFO] = 0x80000b0e;
    vmcs_dump(image_read, &image, &image.msrs);

    contains("VMCS guest state:\n  ES   0x0010 base 0x0000000000000000 limit 0xffffffff rights "
             "0x0c093: data, writable, accessed, DPL 0, present, 32-bit, 4K\n");
    contains("  CS   0x0008 base 0x0000000000000000 limit 0xffffffff rights 0x0a09b: code, "
             "readable, accessed, DPL 0, present, 64-bit, 4K\n");
    contains("  LDTR 0x0000 base 0x0000000000000000 limit 0x00000000 rights 0x10000: unusable\n");
    contains("  TR   0x0018 base 0x0000000000000000 limit 0x00000067 rights 0x0008b: busy TSS, "
             "DPL 0, present\n");
    contains("  GDTR base 0x0000000000000000 limit 0x0027   IDTR base 0x0000000000000000 limit "
             "0x0fff\n");
    contains("  guest RIP                                  0x0000000000100000\n");
    contains("  guest activity state                       0x00000001: HLT\n");
    contains("  guest interruptibility state               0x00000008: blocking by NMI\n");
    contains("VMCS host state:\n  host ES selector                           0x0000\n");
    contains("  host RIP                                   0xffffffff80105000\n");
    contains("  pin-based controls = 0x7f:\n    external-interrupt exiting, NMI exiting, virtual "
             "NMIs, activate VMX-preemption timer\n");
    contains("  primary processor-based controls = 0xb5986dfa:\n    use TSC offsetting, HLT "
             "exiting, MWAIT exiting, RDPMC exiting, CR8-load exiting,\n    CR8-store exiting, "
             "MOV-DR exiting, unconditional I/O exiting, use MSR bitmaps,\n    MONITOR exiting, "
             "activate secondary controls\n");
    contains("  VM-instruction error                       0x00000007: VM entry with invalid "
             "control field(s)\n");
    contains("  exit reason                                0x80000021: entry failed: invalid "
             "guest state\n");
    contains("  IDT-vectoring information                  0x80000b0e: hardware exception, "
             "vector 14, error code\n");

    /* Controls that are 0 are left out, and fields that do not exist are left out everywhere. */
    assert_null(strstr(support_log(), "  TSC offset"));
    assert_null(strstr(support_log(), "  guest ES selector"));
    assert_null(strstr(support_log(), "  guest IDTR base"));
    assert_null(strstr(support_log(), "tertiary"));
    assert_null(strstr(support_log(), "guest SSP"));

    /* Each field of the guest and host state that has no row of its own is in the dump. */
    for (unsigned i = 0; i < vmcs_field_count; i++) {
        uint32_t field = vmcs_fields[i];
        const char *name = vmcs_field_name(field);
        bool segment = strstr(name, " selector") || strstr(name, "access rights") ||
                       strstr(name, " limit") || strstr(name, " base");
        if (vmcs_field_section(field) == VMCS_GUEST_STATE && vmx_field_exists(&icelake_u, field)) {
            if (segment)
                assert_null(strstr(support_log(), name));
            else
                contains(name);
        }
        if (vmcs_field_section(field) == VMCS_HOST_STATE && vmx_field_exists(&icelake_u, field))
            contains(name);
    }
}

/* The extremes: all bits set, and none. */
static void dump_extremes(void **state)
{
    (void)state;
    image_make(&image, &rich, PAE);
    memset(image.value, 0xff, sizeof(image.value));
    vmcs_dump(image_read, &image, &image.msrs);
    contains("guest activity state                       0xffffffff: no activity state\n");
    contains("  tertiary processor-based controls = 0xffffffffffffffff:\n    LOADIWKEY exiting, ");
    assert_null(strstr(support_log(), "    \n"));

    support_reset();
    memset(image.value, 0, sizeof(image.value));
    image.value[VMCS_GUEST_ACTIVITY_STATE] = 4;
    vmcs_dump(image_read, &image, &image.msrs);
    contains("guest activity state                       0x00000004: no activity state\n");
    contains("  tertiary processor-based controls = 0x0:\n");
    assert_null(strstr(support_log(), "    \n"));
}

/* Long lists of names are wrapped, and no line is cut. */
static void dump_lines(void **state)
{
    (void)state;
    image_make(&image, &rich, PAE);
    memset(image.value, 0xff, sizeof(image.value));
    vmcs_dump(image_read, &image, &image.msrs);
    for (const char *line = support_log(); *line; line = strchr(line, '\n') + 1)
        assert_true(strchr(line, '\n') - line < 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(exit_reasons, setup),
        cmocka_unit_test_setup(instruction_errors, setup),
        cmocka_unit_test_setup(entry_failures, setup),
        cmocka_unit_test_setup(access_rights, setup),
        cmocka_unit_test_setup(states, setup),
        cmocka_unit_test_setup(dumped, setup),
        cmocka_unit_test_setup(dump_extremes, setup),
        cmocka_unit_test_setup(dump_lines, setup),
    };
    return cmocka_run_group_tests_name("vmx words", tests, NULL, NULL);
}
