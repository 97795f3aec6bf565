/* SPDX-License-Identifier: MIT */
/* The VMCS fields by name, and the negotiation of the controls on real capability MSRs. */
#include "tests/unit/support.h"

#include "lib/errno.h"
#include "tests/unit/vmx/test_vmx_models.h"
#include "vmx/fields.h"

#include <string.h>

static int setup(void **state)
{
    (void)state;
    support_reset();
    return 0;
}

static void fields(void **state)
{
    (void)state;
    assert_int_equal(vmcs_field_width(VMCS_VPID), VMCS_WIDTH_16);
    assert_int_equal(vmcs_field_width(VMCS_EPT_POINTER), VMCS_WIDTH_64);
    assert_int_equal(vmcs_field_width(VMCS_EXIT_REASON), VMCS_WIDTH_32);
    assert_int_equal(vmcs_field_width(VMCS_GUEST_RIP), VMCS_WIDTH_NATURAL);
    assert_int_equal(vmcs_field_bits(VMCS_GUEST_CS_SELECTOR), 16);
    assert_int_equal(vmcs_field_bits(VMCS_GUEST_CS_LIMIT), 32);
    assert_int_equal(vmcs_field_bits(VMCS_GUEST_CS_BASE), 64);
    assert_int_equal(vmcs_field_bits(VMCS_GUEST_PAT), 64);
    assert_string_equal(vmcs_field_name(0x681e), "guest RIP");
    assert_string_equal(vmcs_field_name(0x4402), "exit reason");
    assert_string_equal(vmcs_field_name(0x681f), "unknown VMCS field");

    /* A field's text and its encoding agree on the section, and no two fields share a text. */
    for (unsigned i = 0; i < vmcs_field_count; i++) {
        const char *name = vmcs_field_name(vmcs_fields[i]);
        enum vmcs_section section = vmcs_field_section(vmcs_fields[i]);
        bool guest = section == VMCS_GUEST_STATE && vmcs_fields[i] != VMCS_LINK_POINTER &&
                     vmcs_fields[i] != VMCS_PML_INDEX &&
                     vmcs_fields[i] != VMCS_PREEMPTION_TIMER_VALUE;
        assert_int_equal(!strncmp(name, "guest ", 6), guest);
        assert_int_equal(!strncmp(name, "host ", 5), section == VMCS_HOST_STATE);
        for (unsigned j = 0; j < i; j++) {
            assert_string_not_equal(name, vmcs_field_name(vmcs_fields[j]));
            assert_int_not_equal(vmcs_fields[i], vmcs_fields[j]);
        }
    }
}

static void table(void **state)
{
    (void)state;
    for (unsigned i = 0; i < vmx_control_count; i++) {
        const struct control *a = &vmx_control_table[i];
        assert_true(a->mask && !(a->mask & (a->mask - 1)));
        assert_int_equal(a->need == CONTROL_UNWANTED, a->why == NULL);
        for (unsigned j = 0; j < i; j++) {
            const struct control *b = &vmx_control_table[j];
            assert_false(a->set == b->set && a->mask == b->mask);
            assert_false(a->set == b->set && !strcmp(a->name, b->name));
        }
    }
}

/* The expected values are the wanted bits, written out here independently, and the bits that must
 * be 1. */
static void accepted(void **state)
{
    (void)state;
    static const struct {
        const struct vmx_msrs *msrs;
        uint64_t secondary;
    } models[] = {
        {&icelake_u, 0x1613fa},
        {&skylake_x, 0x1613fa},
        {&haswell, 0x0413fa},    /* no PML, no XSAVES */
        {&ivy_bridge, 0x0000fa}, /* nor INVPCID, nor #VE */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(models); i++) {
        struct vmx_controls controls;
        memset(&controls, 0xff, sizeof(controls));
        assert_int_equal(vmx_negotiate(models[i].msrs, &controls), 0);
        assert_null(controls.missing);
        assert_int_equal(controls.set[CONTROL_PIN], 0x7f);
        assert_int_equal(controls.set[CONTROL_PRIMARY], 0xb5b86dfa);
        assert_int_equal(controls.set[CONTROL_SECONDARY], models[i].secondary);
        assert_int_equal(controls.set[CONTROL_TERTIARY], 0);
        assert_int_equal(controls.set[CONTROL_EXIT], 0x7fefff);
        assert_int_equal(controls.set[CONTROL_ENTRY], 0xd1ff);
        assert_true(vmx_has(&controls, CONTROL_SECONDARY, SECONDARY_EPT));
        assert_false(vmx_has(&controls, CONTROL_PRIMARY, PRIMARY_INVLPG_EXITING));
    }
    assert_string_equal(support_log(), "");
}

static void refused(void **state)
{
    (void)state;
    struct vmx_controls controls;

    assert_int_equal(vmx_negotiate(&lynnfield, &controls), -ENODEV);
    assert_string_equal(controls.missing->name, "unrestricted guest");
    assert_string_equal(support_log(), "this CPU's VMX lacks \"unrestricted guest\": use a CPU "
                                       "with EPT and unrestricted guest\n");
    support_reset();
    assert_int_equal(vmx_negotiate(&penryn, &controls), -ENODEV);
    assert_string_equal(controls.missing->name, "enable EPT");
    assert_string_equal(support_log(),
                        "this CPU's VMX lacks \"enable EPT\", \"unrestricted guest\", \"activate "
                        "VMX-preemption timer\", \"save IA32_EFER\", \"load IA32_EFER on exit\", "
                        "\"save IA32_PAT\" and 3 more: use a CPU with EPT and unrestricted "
                        "guest\n");
}

/* Each required control, taken away alone, is refused by its name; each optional one is not. */
static void each_control_alone(void **state)
{
    (void)state;
    for (unsigned i = 0; i < vmx_control_count; i++) {
        const struct control *control = &vmx_control_table[i];
        struct vmx_msrs msrs = icelake_u;
        struct vmx_controls controls;
        uint64_t *msr[CONTROL_SETS] = {
            [CONTROL_PIN] = &msrs.true_pin,     [CONTROL_PRIMARY] = &msrs.true_primary,
            [CONTROL_EXIT] = &msrs.true_exit,   [CONTROL_SECONDARY] = &msrs.secondary,
            [CONTROL_ENTRY] = &msrs.true_entry, [CONTROL_TERTIARY] = &msrs.tertiary,
        };
        bool demanded = control->need == CONTROL_REQUIRED || control->need == CONTROL_TOGGLED;

        *msr[control->set] &= ~(control->mask << 32);
        assert_int_equal(vmx_negotiate(&msrs, &controls), demanded ? -ENODEV : 0);
        if (demanded)
            assert_ptr_equal(controls.missing, control);
        assert_false(controls.set[control->set] & control->mask);

        if (control->need != CONTROL_TOGGLED)
            continue;
        msrs = icelake_u;
        *msr[control->set] |= control->mask; /* must be 1: cannot be switched off */
        assert_int_equal(vmx_negotiate(&msrs, &controls), -ENODEV);
        assert_ptr_equal(controls.missing, control);
    }
}

static void true_msrs(void **state)
{
    (void)state;
    struct vmx_msrs msrs = icelake_u;
    struct vmx_controls controls;

    /* The old MSRs force CR3-load exiting, which must be free to be 0. */
    assert_int_equal(vmx_must_be_1(&msrs, CONTROL_PRIMARY), 0x04006172);
    msrs.basic &= ~BASIC_TRUE_CONTROLS;
    assert_int_equal(vmx_must_be_1(&msrs, CONTROL_PRIMARY), 0x0401e172);
    assert_int_equal(vmx_negotiate(&msrs, &controls), -ENODEV);
    assert_string_equal(controls.missing->name, "CR3-load exiting");

    /* Without secondary controls their MSR does not exist, so its value must not matter. */
    msrs = icelake_u;
    msrs.true_primary &= ~(PRIMARY_SECONDARY_CONTROLS << 32);
    assert_int_equal(vmx_may_be_1(&msrs, CONTROL_SECONDARY), 0);
    assert_int_equal(vmx_negotiate(&msrs, &controls), -ENODEV);
    assert_string_equal(controls.missing->name, "activate secondary controls");

    /* Without tertiary controls, their MSR does not exist either. */
    msrs.tertiary = 0x9f;
    assert_int_equal(vmx_may_be_1(&msrs, CONTROL_TERTIARY), 0);
    assert_int_equal(vmx_may_be_1(&rich, CONTROL_TERTIARY), 0x9f);
}

static unsigned count_in_log(const char *text)
{
    unsigned count = 0;
    for (const char *at = support_log(); (at = strstr(at, text)); at++)
        count++;
    return count;
}

static void printed(void **state)
{
    (void)state;
    vmx_controls_log(&icelake_u);
    assert_string_equal(
        support_log(),
        "VMX controls: revision 0x4, TRUE capability MSRs\n"
        "  pin-based ok: activate VMX-preemption timer, NMI exiting, virtual NMIs,\n"
        "  pin-based ok: external-interrupt exiting\n"
        "  primary   ok: activate secondary controls, HLT exiting, unconditional I/O exiting,\n"
        "  primary   ok: use MSR bitmaps, CR8-load exiting, CR8-store exiting, MWAIT exiting,\n"
        "  primary   ok: MONITOR exiting, RDPMC exiting, MOV-DR exiting, use TSC offsetting,\n"
        "  primary   ok: interrupt-window exiting, NMI-window exiting, CR3-load exiting, INVLPG "
        "exiting,\n"
        "  primary   ok: use TPR shadow\n"
        "  secondary ok: enable EPT, unrestricted guest, enable VPID, enable RDTSCP, enable "
        "INVPCID,\n"
        "  secondary ok: enable XSAVES/XRSTORS, WBINVD exiting, enable PML, EPT-violation #VE,\n"
        "  secondary ok: virtualize x2APIC mode, APIC-register virtualization, virtual-interrupt "
        "delivery\n"
        "  VM-exit   ok: host address-space size, save debug controls, save IA32_EFER,\n"
        "  VM-exit   ok: load IA32_EFER on exit, save IA32_PAT, load IA32_PAT on exit,\n"
        "  VM-exit   ok: acknowledge interrupt on exit, save VMX-preemption timer value\n"
        "  VM-entry  ok: load debug controls, load IA32_EFER on entry, load IA32_PAT on entry,\n"
        "  VM-entry  ok: IA-32e mode guest\n");

    support_reset();
    vmx_controls_log(&haswell);
    assert_non_null(strstr(support_log(),
                           "  secondary missing (optional): enable PML (dirty logging "
                           "without write protection)\n"));
    assert_int_equal(count_in_log("missing (optional)"), 2);
    assert_int_equal(count_in_log("MISSING"), 0);

    support_reset();
    vmx_controls_log(&penryn);
    assert_non_null(strstr(support_log(), "  secondary MISSING: enable EPT (guest memory is "
                                          "virtualized)\n"));
    assert_int_equal(count_in_log("MISSING"), 9);

    support_reset();
    struct vmx_msrs msrs = icelake_u;
    msrs.true_primary |= PRIMARY_RDTSC_EXITING | BIT(17) | PRIMARY_HLT_EXITING;
    msrs.true_exit |= BIT(31);
    msrs.secondary |= BIT(29);
    vmx_controls_log(&msrs);
    assert_non_null(strstr(support_log(), "  primary   forced on: RDTSC exiting, activate tertiary "
                                          "controls\n"));
    assert_non_null(strstr(support_log(), "  secondary forced on: bit 29\n"));
    assert_int_equal(count_in_log("forced on"), 3);

    support_reset();
    msrs.basic &= ~BASIC_TRUE_CONTROLS;
    vmx_controls_log(&msrs);
    assert_non_null(strstr(support_log(), "old capability MSRs"));
    assert_non_null(strstr(support_log(), "  primary   MISSING: CR3-load exiting ("));
    assert_non_null(strstr(support_log(), "  primary   forced on: CR3-load exiting, CR3-store "
                                          "exiting"));
}

static void names(void **state)
{
    (void)state;
    char text[64];
    assert_int_equal(vmx_control_names(CONTROL_PIN, 0x29, text, sizeof(text)),
                     strlen("external-interrupt exiting, NMI exiting, virtual NMIs"));
    assert_string_equal(text, "external-interrupt exiting, NMI exiting, virtual NMIs");
    vmx_control_names(CONTROL_PIN, 0x16, text, sizeof(text)); /* default1 bits mean nothing */
    assert_string_equal(text, "");
    vmx_control_names(CONTROL_SECONDARY, BIT(29) | BIT(63), text, sizeof(text));
    assert_string_equal(text, "bit 29, bit 63");

    /* The text is cut and terminated, and the full length is returned. */
    char small[8];
    assert_int_equal(vmx_control_names(CONTROL_PIN, 0x29, small, sizeof(small)), 53);
    assert_string_equal(small, "externa");
    small[0] = 'x';
    assert_int_equal(vmx_control_names(CONTROL_PIN, 0x29, small, 0), 53);
    assert_int_equal(small[0], 'x');
}

static void existence(void **state)
{
    (void)state;
    static const struct {
        const struct vmx_msrs *msrs;
        uint32_t field;
        bool exists;
    } rows[] = {
        {&icelake_u, VMCS_GUEST_RIP, true},
        {&icelake_u, VMCS_VPID, true},
        {&icelake_u, VMCS_EPT_POINTER, true},
        {&icelake_u, VMCS_GUEST_PDPTE3, true},
        {&icelake_u, VMCS_PML_INDEX, true},
        {&icelake_u, VMCS_EOI_EXIT_BITMAP_2, true},
        {&icelake_u, VMCS_PREEMPTION_TIMER_VALUE, true},
        {&icelake_u, VMCS_POSTED_INTERRUPT_VECTOR, false},
        {&icelake_u, VMCS_TERTIARY_CONTROLS, false},
        {&icelake_u, VMCS_GUEST_SSP, false},
        {&icelake_u, VMCS_SHARED_EPT_POINTER, false},
        {&rich, VMCS_SHARED_EPT_POINTER, false},
        {&rich, VMCS_GUEST_SSP, true},
        {&rich, VMCS_TERTIARY_CONTROLS, true},
        {&haswell, VMCS_PML_ADDRESS, false},
        {&haswell, VMCS_XSS_EXITING_BITMAP, false},
        {&penryn, VMCS_GUEST_PHYSICAL_ADDRESS, false},
        {&penryn, VMCS_GUEST_EFER, false},
        {&penryn, VMCS_SECONDARY_CONTROLS, true},
        {&penryn, VMCS_PREEMPTION_TIMER_VALUE, false},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        assert_int_equal(vmx_field_exists(rows[i].msrs, rows[i].field), rows[i].exists);
}

static unsigned existing(const struct vmx_msrs *msrs)
{
    unsigned count = 0;
    for (unsigned i = 0; i < vmcs_field_count; i++)
        count += vmx_field_exists(msrs, vmcs_fields[i]);
    return count;
}

static const struct {
    enum control_set set;
    uint64_t mask;
    unsigned fields;
} existence_rows[] = {
    {CONTROL_PIN, PIN_POSTED_INTERRUPTS, 2},
    {CONTROL_PIN, PIN_PREEMPTION_TIMER, 1},
    {CONTROL_PRIMARY, PRIMARY_MSR_BITMAPS, 1},
    {CONTROL_PRIMARY, PRIMARY_TPR_SHADOW, 2},
    {CONTROL_SECONDARY, SECONDARY_VIRTUALIZE_APIC_ACCESSES, 1},
    {CONTROL_SECONDARY, SECONDARY_EPT, 6},
    {CONTROL_SECONDARY, SECONDARY_VPID, 1},
    {CONTROL_SECONDARY, SECONDARY_VIRTUAL_INTERRUPT_DELIVERY, 5},
    {CONTROL_SECONDARY, SECONDARY_PAUSE_LOOP_EXITING, 2},
    {CONTROL_SECONDARY, SECONDARY_VM_FUNCTIONS, 2},
    {CONTROL_SECONDARY, SECONDARY_VMCS_SHADOWING, 2},
    {CONTROL_SECONDARY, SECONDARY_ENCLS_EXITING, 1},
    {CONTROL_SECONDARY, SECONDARY_PML, 2},
    {CONTROL_SECONDARY, SECONDARY_EPT_VIOLATION_VE, 2},
    {CONTROL_SECONDARY, SECONDARY_XSAVES, 1},
    {CONTROL_SECONDARY, SECONDARY_PASID_TRANSLATION, 2},
    {CONTROL_SECONDARY, SECONDARY_SUB_PAGE_PERMISSIONS, 1},
    {CONTROL_SECONDARY, SECONDARY_TSC_SCALING, 1},
    {CONTROL_SECONDARY, SECONDARY_PCONFIG, 1},
    {CONTROL_SECONDARY, SECONDARY_ENCLV_EXITING, 1},
    {CONTROL_SECONDARY, SECONDARY_INSTRUCTION_TIMEOUT, 1},
    {CONTROL_TERTIARY, TERTIARY_HLAT, 2},
    {CONTROL_TERTIARY, TERTIARY_IPI_VIRTUALIZATION, 2},
    {CONTROL_TERTIARY, TERTIARY_VIRTUALIZE_SPEC_CTRL, 2},
    {CONTROL_EXIT, EXIT_LOAD_PERF_GLOBAL_CTRL, 1},
    {CONTROL_EXIT, EXIT_LOAD_PAT, 1},
    {CONTROL_EXIT, EXIT_LOAD_EFER, 1},
    {CONTROL_EXIT, EXIT_LOAD_CET, 3},
    {CONTROL_EXIT, EXIT_LOAD_PKRS, 1},
    {CONTROL_EXIT, EXIT_SECONDARY_CONTROLS, 1},
    {CONTROL_ENTRY, ENTRY_LOAD_PERF_GLOBAL_CTRL, 1},
    {CONTROL_ENTRY, ENTRY_LOAD_PAT, 1},
    {CONTROL_ENTRY, ENTRY_LOAD_EFER, 1},
    {CONTROL_ENTRY, ENTRY_LOAD_BNDCFGS, 1},
    {CONTROL_ENTRY, ENTRY_LOAD_RTIT_CTL, 1},
    {CONTROL_ENTRY, ENTRY_LOAD_UINV, 1},
    {CONTROL_ENTRY, ENTRY_LOAD_CET, 3},
    {CONTROL_ENTRY, ENTRY_LOAD_LBR_CTL, 1},
    {CONTROL_ENTRY, ENTRY_LOAD_PKRS, 1},
    {CONTROL_ENTRY, ENTRY_LOAD_FRED, 18},
};

/* How many fields exist because of each control alone. */
static void existence_by_control(void **state)
{
    (void)state;
    struct vmx_msrs none = {0};
    unsigned base = existing(&none), sum = 0;

    none.primary = (PRIMARY_SECONDARY_CONTROLS | PRIMARY_TERTIARY_CONTROLS) << 32;
    unsigned activated = existing(&none); /* the two sets themselves */
    assert_int_equal(activated, base + 2);
    for (unsigned i = 0; i < ARRAY_SIZE(existence_rows); i++) {
        struct vmx_msrs one = none;
        uint64_t *msr[CONTROL_SETS] = {
            [CONTROL_PIN] = &one.pin,     [CONTROL_PRIMARY] = &one.primary,
            [CONTROL_EXIT] = &one.exit,   [CONTROL_SECONDARY] = &one.secondary,
            [CONTROL_ENTRY] = &one.entry, [CONTROL_TERTIARY] = &one.tertiary,
        };
        *msr[existence_rows[i].set] |= existence_rows[i].set == CONTROL_TERTIARY
                                           ? existence_rows[i].mask
                                           : existence_rows[i].mask << 32;
        if (existing(&one) != activated + existence_rows[i].fields)
            fail_msg("row %u: %u fields", i, existing(&one) - activated);
        sum += existence_rows[i].fields;
    }
    assert_int_equal(activated + sum + 1, vmcs_field_count); /* and the one of TDX */
}

static void fixed_bits(void **state)
{
    (void)state;
    assert_int_equal(vmx_cr0_must_be_1(&icelake_u, false), 0x80000021);
    assert_int_equal(vmx_cr0_must_be_1(&icelake_u, true), 0x20);
    assert_int_equal(vmx_cr0_may_be_1(&icelake_u), 0xffffffff);
    assert_int_equal(vmx_cr4_must_be_1(&icelake_u), 0x2000);
    assert_int_equal(vmx_cr4_may_be_1(&icelake_u), 0x772fff);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(fields, setup),
        cmocka_unit_test_setup(table, setup),
        cmocka_unit_test_setup(accepted, setup),
        cmocka_unit_test_setup(refused, setup),
        cmocka_unit_test_setup(each_control_alone, setup),
        cmocka_unit_test_setup(true_msrs, setup),
        cmocka_unit_test_setup(printed, setup),
        cmocka_unit_test_setup(names, setup),
        cmocka_unit_test_setup(existence, setup),
        cmocka_unit_test_setup(existence_by_control, setup),
        cmocka_unit_test_setup(fixed_bits, setup),
    };
    return cmocka_run_group_tests_name("vmx controls", tests, NULL, NULL);
}
