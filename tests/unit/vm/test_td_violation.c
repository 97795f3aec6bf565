/* SPDX-License-Identifier: MIT */
/*
 * EPT violations of a TD (vm/td_violation.c): for each state of a page and each kind of access,
 * what the TD gets; and N132, addresses that the CPU has and the TD has not.
 */
#include "tests/unit/vmx/vmcs_world.h"

#include "arch/x86/cpu.h"

static uint64_t cr2;
#define write_cr2(value) (cr2 = (value))

#include "vm/td_violation.c"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SHARED BIT(39)
#define GLA    0x7fff12345678ul

static struct vm vm;
static struct vcpu *const vcpu = &vm.vcpu;
static struct td td;
static struct td_vcpu td_vcpu;
static enum td_page_state page_state;
static int mmu_says;
static uint64_t privilege;
static char did[400];

static void note(const char *format, ...)
{
    size_t used = strlen(did);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(did + used, sizeof(did) - used, format, arguments);
    va_end(arguments);
}

void exit_cut_short(struct vcpu *v, uint32_t reason)
{
    (void)v;
    assert_int_equal(reason, REASON_EPT_VIOLATION);
}

enum td_page_state td_page_state(struct vm *v, gpa_t gpa)
{
    assert_ptr_equal(v, &vm);
    assert_false(gpa.v & SHARED);
    return page_state;
}

const char *td_page_state_name(enum td_page_state state)
{
    static const char *const names[] = {[TD_PAGE_NONE] = "none",
                                        [TD_PAGE_SHARED] = "shared",
                                        [TD_PAGE_CONVERTING] = "converting",
                                        [TD_PAGE_PENDING] = "pending",
                                        [TD_PAGE_BLOCKED] = "blocked",
                                        [TD_PAGE_ACCEPTED] = "accepted"};
    return names[state];
}

int mmu_fault(struct mmu *mmu, gpa_t gpa, uint32_t error, struct mmio_info *info)
{
    (void)mmu, (void)error, (void)info;
    note("fault %#lx ", gpa.v);
    return mmu_says;
}

void mmu_help(struct mmu *mmu)
{
    (void)mmu;
    note("waits ");
}

void td_raise_ve_with(struct vcpu *v, const struct td_ve *ve)
{
    assert_ptr_equal(v, vcpu);
    assert_int_equal(ve->reason, REASON_EPT_VIOLATION);
    assert_int_equal(ve->length | ve->instruction, 0);
    note("ve %#lx %#lx ", ve->gpa, ve->gla);
}

void vmx_raise(struct vmx_vcpu *half, uint8_t vector, uint32_t error_code)
{
    assert_ptr_equal(half, &vcpu->vmx);
    note("#%u(%#x) ", vector, error_code);
}

void vmx_end_interrupt_shadow(void)
{
    note("shadow ");
}

uint64_t cpu_reg_load(struct cpu_regs *cpu, enum cpu_reg which)
{
    (void)cpu;
    return which == (enum cpu_reg)(REG_SEG_AR + SEG_SS) ? privilege << 5 : 0x1000;
}

void vcpu_arm_for_slice(struct vcpu *v)
{
    (void)v;
}

void vcpu_end(const struct vcpu *v, enum vm_ending ending, const char *format, ...)
{
    char text[256];
    va_list arguments;
    (void)v;
    assert_int_equal(ending, VM_ENDED_MEMORY_FAULT);
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    note("stop: %s", text);
}

static int setup(void **state)
{
    (void)state;
    support_reset();
    memset(&vm, 0, sizeof(vm));
    td = (struct td){.gpa_width = 40, .td_ctls = TD_CTLS_PENDING_VE_DISABLE};
    td_vcpu = (struct td_vcpu){.td = &td};
    vm.td = &td;
    vcpu->vm = &vm;
    vcpu->td = &td_vcpu;
    vcpu->mmio.mmu = &vm.mmu;
    vm.mmu.stolen.mask = SHARED >> PAGE_SHIFT;
    vmcs[VMCS_GUEST_LINEAR_ADDRESS] = GLA;
    mmu_says = FAULT_FIXED;
    privilege = 0;
    cr2 = 0;
    return 0;
}

/* Lets the vCPU exit, and returns what was done. */
static const char *violate(uint64_t gpa, uint64_t qualification, bool delivering)
{
    did[0] = 0;
    memset(&vcpu->vmx.exit, 0, sizeof(vcpu->vmx.exit));
    vcpu->vmx.exit.reason = REASON_EPT_VIOLATION;
    vcpu->vmx.exit.idt_vectoring = delivering ? (uint32_t)EVENT_INFO_VALID : 0;
    vmcs[VMCS_GUEST_PHYSICAL_ADDRESS] = gpa;
    vmcs[VMCS_EXIT_QUALIFICATION] = qualification;
    td_violation(vcpu);
    return did;
}

#define DATA  (QUALIFICATION_READ | QUALIFICATION_GLA_VALID | QUALIFICATION_FINAL)
#define STORE (QUALIFICATION_WRITE | QUALIFICATION_GLA_VALID | QUALIFICATION_FINAL)
#define FETCH (QUALIFICATION_FETCH | QUALIFICATION_GLA_VALID | QUALIFICATION_FINAL)
#define WALK  (QUALIFICATION_READ | QUALIFICATION_GLA_VALID)

/* Of the message that stops the TD, the beginning is given. */
static void expect(const char *is, const char *wanted)
{
    if (strncmp(is, wanted, strlen(wanted)) ||
        (!strstr(wanted, "stop: ") && strlen(is) != strlen(wanted)))
        fail_msg("\"%s\", expected \"%s\"", is, wanted);
}

static void private_accesses(void **state)
{
    (void)state;
    static const struct {
        enum td_page_state page;
        const char *does;
    } rows[] = {
        {TD_PAGE_ACCEPTED, "fault 0x5008 "},
        {TD_PAGE_BLOCKED, "fault 0x5008 "},
        {TD_PAGE_CONVERTING, "waits "},
        {TD_PAGE_PENDING, "stop: private memory must be accepted before it is used"},
        {TD_PAGE_SHARED, "stop: shared memory must be used with the shared bit"},
        {TD_PAGE_NONE, "stop: there is no private memory outside of RAM"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        page_state = rows[i].page;
        expect(violate(0x5008, DATA, false), rows[i].does);
    }
    td.td_ctls = 0;
    page_state = TD_PAGE_PENDING;
    expect(violate(0x5008, STORE, false), "ve 0x5008 0x7fff12345678 ");
    page_state = TD_PAGE_ACCEPTED;
    mmu_says = -ENOMEM;
    expect(violate(0x5008, STORE, false), "fault 0x5008 stop: the host could not provide private");
}

static void shared_accesses(void **state)
{
    (void)state;
    static const struct {
        enum td_page_state page;
        uint64_t qualification;
        int mmu;
        const char *does;
    } rows[] = {
        {TD_PAGE_SHARED, DATA, FAULT_FIXED, "fault 0x8000005008 "},
        {TD_PAGE_NONE, DATA, FAULT_VE, "fault 0x8000005008 ve 0x8000005008 0x7fff12345678 "},
        {TD_PAGE_ACCEPTED, STORE, FAULT_FIXED, "ve 0x8000005008 0x7fff12345678 "},
        {TD_PAGE_PENDING, STORE, FAULT_FIXED, "ve 0x8000005008 0x7fff12345678 "},
        {TD_PAGE_CONVERTING, DATA, FAULT_FIXED, "waits "},
        {TD_PAGE_SHARED, FETCH, FAULT_FIXED, "stop: code and page tables must be private"},
        {TD_PAGE_SHARED, WALK, FAULT_FIXED, "stop: code and page tables must be private"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        page_state = rows[i].page;
        mmu_says = rows[i].mmu;
        expect(violate(SHARED | 0x5008, rows[i].qualification, false), rows[i].does);
    }
    page_state = TD_PAGE_ACCEPTED;
    expect(violate(SHARED | 0x5008, STORE, true), "stop: #VE cannot be delivered while");
}

/* N132. The state of the page that has the other bits of the address makes no difference. */
static void addresses_beyond_the_width(void **state)
{
    (void)state;
    for (unsigned bit = 40; bit < 52; bit++)
        for (unsigned side = 0; side < 2; side++) {
            const uint64_t gpa = BIT(bit) | (side ? SHARED : 0) | 0x5008;
            page_state = bit & 1 ? TD_PAGE_ACCEPTED : TD_PAGE_SHARED;
            cr2 = 0;
            expect(violate(gpa, DATA, false), "#14(0x9) shadow ");
            assert_int_equal(cr2, GLA);
            expect(violate(gpa, STORE, false), "#14(0xb) shadow ");
            expect(violate(gpa, FETCH, false), "#14(0x19) shadow ");
            expect(violate(gpa, WALK, false), "#14(0x9) shadow ");
            privilege = 3;
            expect(violate(gpa, STORE, false), "#14(0xf) shadow ");
            privilege = 0;
            expect(violate(gpa, STORE, true), "stop: #PF for a bit beyond the TD's address width");
        }
    page_state = TD_PAGE_NONE;
    cr2 = 0;
    expect(violate(BIT(40) | 0x5008, QUALIFICATION_READ, false),
           "stop: there is no private memory");
    assert_int_equal(cr2, 0);
    td.gpa_width = 48;
    assert_false(td_gpa_is_reserved(&td, GPA(BIT(47))));
    assert_true(td_gpa_is_reserved(&td, GPA(BIT(48))));
}

static void every_decision_is_said(void **state)
{
    (void)state;
    for (enum td_why why = TD_WHY_FAULT; why <= TD_WHY_CODE; why++)
        assert_true(strlen(td_why_rule(why)) > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(private_accesses, setup),
        cmocka_unit_test_setup(shared_accesses, setup),
        cmocka_unit_test_setup(addresses_beyond_the_width, setup),
        cmocka_unit_test_setup(every_decision_is_said, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
