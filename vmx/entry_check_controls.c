/* The entry checks of the control fields (SDM 3, 27.2.1), except the event to be injected. */
#include "lib/bits.h"
#include "vmx/entry_check_internal.h"

static const char EXECUTION[] = "27.2.1.1";
static const char EXIT[] = "27.2.1.2";
static const char ENTRY[] = "27.2.1.3";

/* Reserved bits, by the capability MSRs. */
static void check_word(struct entry_checker *c, enum control_word word, const char *rule)
{
    uint32_t field = vmx_control_field(word);
    entry_must_be_1(c, field, vmx_must_be_1(c->in->msrs, word), rule,
                    "by the capability MSR of these controls");
    entry_must_be_0(c, field, ~vmx_may_be_1(c->in->msrs, word), rule,
                    "by the capability MSR of these controls");
}

/* A control that may be 1 only if another one is `state`. */
static const struct dependency {
    enum control_word word;
    uint64_t mask;
    enum control_word needs_word;
    uint64_t needs;
    bool state;
    const char *rule;
    const char *why;
} dependencies[] = {
    {CONTROL_PIN,       PIN_VIRTUAL_NMIS,                     CONTROL_PIN,       PIN_NMI_EXITING,                      true,  EXECUTION,
     "because NMI exiting is 0"                                                                                                                                                   },
    {CONTROL_PRIMARY,   PRIMARY_NMI_WINDOW_EXITING,           CONTROL_PIN,       PIN_VIRTUAL_NMIS,                     true,  EXECUTION,
     "because virtual NMIs is 0"                                                                                                                                                  },
    {CONTROL_SECONDARY, SECONDARY_VIRTUALIZE_X2APIC,          CONTROL_PRIMARY,   PRIMARY_TPR_SHADOW,                   true,
     EXECUTION,                                                                                                                          "because use TPR shadow is 0"            },
    {CONTROL_SECONDARY, SECONDARY_APIC_REGISTERS,             CONTROL_PRIMARY,   PRIMARY_TPR_SHADOW,                   true,
     EXECUTION,                                                                                                                          "because use TPR shadow is 0"            },
    {CONTROL_SECONDARY, SECONDARY_VIRTUAL_INTERRUPT_DELIVERY, CONTROL_PRIMARY,   PRIMARY_TPR_SHADOW,
     true,                                                                                                                    EXECUTION, "because use TPR shadow is 0"            },
    {CONTROL_SECONDARY, SECONDARY_VIRTUALIZE_X2APIC,          CONTROL_SECONDARY,
     SECONDARY_VIRTUALIZE_APIC_ACCESSES,                                                                               false, EXECUTION, "because virtualize APIC accesses is 1"  },
    {CONTROL_SECONDARY, SECONDARY_VIRTUAL_INTERRUPT_DELIVERY, CONTROL_PIN,
     PIN_EXTERNAL_INTERRUPT_EXITING,                                                                                   true,  EXECUTION, "because external-interrupt exiting is 0"},
    {CONTROL_PIN,       PIN_POSTED_INTERRUPTS,                CONTROL_SECONDARY, SECONDARY_VIRTUAL_INTERRUPT_DELIVERY,
     true,                                                                                                                    EXECUTION, "because virtual-interrupt delivery is 0"},
    {CONTROL_PIN,       PIN_POSTED_INTERRUPTS,                CONTROL_EXIT,      EXIT_ACKNOWLEDGE_INTERRUPT,           true,  EXECUTION,
     "because acknowledge interrupt on exit is 0"                                                                                                                                 },
    {CONTROL_SECONDARY, SECONDARY_UNRESTRICTED_GUEST,         CONTROL_SECONDARY, SECONDARY_EPT,                        true,
     EXECUTION,                                                                                                                          "because enable EPT is 0"                },
    {CONTROL_SECONDARY, SECONDARY_PML,                        CONTROL_SECONDARY, SECONDARY_EPT,                        true,  EXECUTION,
     "because enable EPT is 0"                                                                                                                                                    },
    {CONTROL_SECONDARY, SECONDARY_MODE_BASED_EXECUTE,         CONTROL_SECONDARY, SECONDARY_EPT,                        true,
     EXECUTION,                                                                                                                          "because enable EPT is 0"                },
    {CONTROL_SECONDARY, SECONDARY_SUB_PAGE_PERMISSIONS,       CONTROL_SECONDARY, SECONDARY_EPT,                        true,
     EXECUTION,                                                                                                                          "because enable EPT is 0"                },
    {CONTROL_SECONDARY, SECONDARY_PT_GUEST_PHYSICAL,          CONTROL_SECONDARY, SECONDARY_EPT,                        true,
     EXECUTION,                                                                                                                          "because enable EPT is 0"                },
    {CONTROL_SECONDARY, SECONDARY_PT_GUEST_PHYSICAL,          CONTROL_ENTRY,     ENTRY_LOAD_RTIT_CTL,                  true,
     EXECUTION,                                                                                                                          "because load IA32_RTIT_CTL is 0"        },
    {CONTROL_SECONDARY, SECONDARY_PT_GUEST_PHYSICAL,          CONTROL_EXIT,      EXIT_CLEAR_RTIT_CTL,                  true,
     EXECUTION,                                                                                                                          "because clear IA32_RTIT_CTL is 0"       },
    {CONTROL_EXIT,      EXIT_SAVE_PREEMPTION_TIMER,           CONTROL_PIN,       PIN_PREEMPTION_TIMER,                 true,  EXIT,
     "because activate VMX-preemption timer is 0"                                                                                                                                 },
    {CONTROL_ENTRY,     ENTRY_TO_SMM,                         CONTROL_WORDS,     0,                                    true,  ENTRY,     "outside SMM"                            },
    {CONTROL_ENTRY,     ENTRY_DEACTIVATE_DUAL_SMM,            CONTROL_WORDS,     0,                                    true,  ENTRY,     "outside SMM"                            },
};

static void check_dependencies(struct entry_checker *c)
{
    for (unsigned i = 0; i < ARRAY_SIZE(dependencies); i++) {
        const struct dependency *d = &dependencies[i];
        bool met =
            d->needs_word != CONTROL_WORDS && entry_on(c, d->needs_word, d->needs) == d->state;
        if (entry_on(c, d->word, d->mask) && !met)
            entry_must_be_0(c, vmx_control_field(d->word), d->mask, d->rule, d->why);
    }
}

/* A field that holds a physical address when its control is 1. */
static const struct address {
    uint32_t field;
    enum control_word word;
    uint64_t mask;
    uint64_t low; /* the bits that must be 0 */
} addresses[] = {
    {VMCS_IO_BITMAP_A,                 CONTROL_PRIMARY,   PRIMARY_IO_BITMAPS,                 BITS(11, 0)},
    {VMCS_IO_BITMAP_B,                 CONTROL_PRIMARY,   PRIMARY_IO_BITMAPS,                 BITS(11, 0)},
    {VMCS_MSR_BITMAP,                  CONTROL_PRIMARY,   PRIMARY_MSR_BITMAPS,                BITS(11, 0)},
    {VMCS_VIRTUAL_APIC_ADDRESS,        CONTROL_PRIMARY,   PRIMARY_TPR_SHADOW,                 BITS(11, 0)},
    {VMCS_APIC_ACCESS_ADDRESS,         CONTROL_SECONDARY, SECONDARY_VIRTUALIZE_APIC_ACCESSES, BITS(11, 0)},
    {VMCS_POSTED_INTERRUPT_DESCRIPTOR, CONTROL_PIN,       PIN_POSTED_INTERRUPTS,              BITS(5,  0)},
    {VMCS_PML_ADDRESS,                 CONTROL_SECONDARY, SECONDARY_PML,                      BITS(11, 0)},
    {VMCS_SPP_TABLE_POINTER,           CONTROL_SECONDARY, SECONDARY_SUB_PAGE_PERMISSIONS,     BITS(11, 0)},
    {VMCS_VMREAD_BITMAP,               CONTROL_SECONDARY, SECONDARY_VMCS_SHADOWING,           BITS(11, 0)},
    {VMCS_VMWRITE_BITMAP,              CONTROL_SECONDARY, SECONDARY_VMCS_SHADOWING,           BITS(11, 0)},
    {VMCS_VE_INFORMATION_ADDRESS,      CONTROL_SECONDARY, SECONDARY_EPT_VIOLATION_VE,         BITS(11, 0)},
    {VMCS_LOW_PASID_DIRECTORY,         CONTROL_SECONDARY, SECONDARY_PASID_TRANSLATION,        BITS(11, 0)},
    {VMCS_HIGH_PASID_DIRECTORY,        CONTROL_SECONDARY, SECONDARY_PASID_TRANSLATION,        BITS(11, 0)},
};

static void check_addresses(struct entry_checker *c)
{
    for (unsigned i = 0; i < ARRAY_SIZE(addresses); i++)
        if (entry_on(c, addresses[i].word, addresses[i].mask))
            entry_physical(c, addresses[i].field, addresses[i].low, EXECUTION);
}

/* SDM 3, 25.6.11. */
static void check_ept_pointer(struct entry_checker *c)
{
    uint64_t cap = c->in->msrs->ept_vpid_cap;
    uint64_t eptp = entry_get(c, VMCS_EPT_POINTER);
    unsigned type = (unsigned)(eptp & 7);
    unsigned levels = (unsigned)field_get(eptp, BITS(5, 3)) + 1;

    if (!(type == 0 && cap & EPT_CAP_UC) && !(type == 6 && cap & EPT_CAP_WB))
        entry_fail(c, VMCS_EPT_POINTER, 0, EXECUTION,
                   "bits 2:0, the memory type, are %u, but IA32_VMX_EPT_VPID_CAP allows%s%s%s",
                   type, cap & EPT_CAP_UC ? " 0" : "",
                   (cap & EPT_CAP_UC) && (cap & EPT_CAP_WB) ? " and" : "",
                   cap & EPT_CAP_WB ? " 6" : "");
    if (!(levels == 4 && cap & EPT_CAP_WALK_4) && !(levels == 5 && cap & EPT_CAP_WALK_5))
        entry_fail(c, VMCS_EPT_POINTER, 3, EXECUTION,
                   "bits 5:3 ask for a page walk of %u levels, which this CPU does not make",
                   levels);
    if (!(cap & EPT_CAP_ACCESSED_DIRTY))
        entry_must_be_0(c, VMCS_EPT_POINTER, BIT(6), EXECUTION,
                        "because this CPU has no accessed and dirty flags for EPT");
    if (!(cap & EPT_CAP_SHADOW_STACK))
        entry_must_be_0(c, VMCS_EPT_POINTER, BIT(7), EXECUTION,
                        "because this CPU has no supervisor shadow-stack control for EPT");
    entry_must_be_0(c, VMCS_EPT_POINTER, BITS(11, 8), EXECUTION, "reserved");
    entry_must_be_0(c, VMCS_EPT_POINTER, entry_beyond_physical(c), EXECUTION,
                    "beyond the physical-address width");
}

static void check_vm_functions(struct entry_checker *c)
{
    entry_must_be_0(c, VMCS_VM_FUNCTION_CONTROLS, ~c->in->msrs->vmfunc, EXECUTION,
                    "by IA32_VMX_VMFUNC");
    if (!(entry_get(c, VMCS_VM_FUNCTION_CONTROLS) & c->in->msrs->vmfunc & BIT(0)))
        return;
    if (!entry_on(c, CONTROL_SECONDARY, SECONDARY_EPT))
        entry_must_be_0(c, VMCS_VM_FUNCTION_CONTROLS, BIT(0), EXECUTION, "because enable EPT is 0");
    entry_physical(c, VMCS_EPTP_LIST_ADDRESS, BITS(11, 0), EXECUTION);
}

/* The fields that are neither a control word nor an address. */
static void check_values(struct entry_checker *c)
{
    uint64_t targets = field_get(c->in->msrs->misc, MISC_CR3_TARGETS);
    if (entry_get(c, VMCS_CR3_TARGET_COUNT) > targets)
        entry_fail(c, VMCS_CR3_TARGET_COUNT, -1, EXECUTION, "must be at most %llu",
                   (unsigned long long)targets);
    if (entry_on(c, CONTROL_PRIMARY, PRIMARY_TPR_SHADOW) &&
        !entry_on(c, CONTROL_SECONDARY, SECONDARY_VIRTUAL_INTERRUPT_DELIVERY))
        entry_must_be_0(c, VMCS_TPR_THRESHOLD, BITS(31, 4), EXECUTION,
                        "because virtual-interrupt delivery is 0");
    if (entry_on(c, CONTROL_PIN, PIN_POSTED_INTERRUPTS))
        entry_must_be_0(c, VMCS_POSTED_INTERRUPT_VECTOR, BITS(15, 8), EXECUTION,
                        "a vector has eight bits");
    if (entry_on(c, CONTROL_SECONDARY, SECONDARY_VPID) && !entry_get(c, VMCS_VPID))
        entry_fail(c, VMCS_VPID, -1, EXECUTION, "must not be 0, which is the host's");
    if (entry_on(c, CONTROL_SECONDARY, SECONDARY_TSC_SCALING) && !entry_get(c, VMCS_TSC_MULTIPLIER))
        entry_fail(c, VMCS_TSC_MULTIPLIER, -1, EXECUTION, "must not be 0");
    if (entry_on(c, CONTROL_SECONDARY, SECONDARY_EPT))
        check_ept_pointer(c);
    if (entry_on(c, CONTROL_SECONDARY, SECONDARY_VM_FUNCTIONS))
        check_vm_functions(c);
}

/* An area of 16-byte MSR entries: aligned, and its last byte within the physical-address width. */
static void check_msr_area(struct entry_checker *c, uint32_t count_field, uint32_t address_field,
                           const char *rule)
{
    uint64_t count = entry_get(c, count_field);
    uint64_t address = entry_get(c, address_field);
    uint64_t last = address + count * 16 - 1;

    if (!count)
        return;
    entry_physical(c, address_field, BITS(3, 0), rule);
    uint64_t beyond = entry_beyond_physical(c);
    if (c->in->msrs->basic & BASIC_32BIT_ADDRESSES)
        beyond |= HIGH_HALF;
    if (!(address & beyond) && last & beyond)
        entry_fail(c, count_field, -1, rule,
                   "the area ends at 0x%llx, beyond the physical-address width",
                   (unsigned long long)last);
}

void entry_check_controls(struct entry_checker *c)
{
    check_word(c, CONTROL_PIN, EXECUTION);
    check_word(c, CONTROL_PRIMARY, EXECUTION);
    if (entry_on(c, CONTROL_PRIMARY, PRIMARY_SECONDARY_CONTROLS))
        check_word(c, CONTROL_SECONDARY, EXECUTION);
    if (entry_on(c, CONTROL_PRIMARY, PRIMARY_TERTIARY_CONTROLS))
        check_word(c, CONTROL_TERTIARY, EXECUTION);
    check_word(c, CONTROL_EXIT, EXIT);
    check_word(c, CONTROL_ENTRY, ENTRY);
    check_dependencies(c);
    check_addresses(c);
    check_values(c);
    check_msr_area(c, VMCS_EXIT_MSR_STORE_COUNT, VMCS_EXIT_MSR_STORE_ADDRESS, EXIT);
    check_msr_area(c, VMCS_EXIT_MSR_LOAD_COUNT, VMCS_EXIT_MSR_LOAD_ADDRESS, EXIT);
    check_msr_area(c, VMCS_ENTRY_MSR_LOAD_COUNT, VMCS_ENTRY_MSR_LOAD_ADDRESS, ENTRY);
}
