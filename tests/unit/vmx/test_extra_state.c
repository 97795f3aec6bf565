/* SPDX-License-Identifier: MIT */
/*
 * The state that is switched between two vCPUs (vmx/extra_state.c): what is loaded is what was
 * saved, in an order in which no component is lost, each register by itself. If a CPU refuses a
 * part, the message names that part, and nothing is loaded after it.
 */
#include "tests/unit/support.h"

#include "arch/x86/cpu.h"
#include "arch/x86/guarded.h"

#include <stdio.h>
#include <string.h>

/* ---- The CPU --------------------------------------------------------------------------------- */

static struct {
    bool xsave, xsaves;
    uint64_t components; /* CPUID.0xD */
    uint64_t missing;    /* an MSR that it does not have */
} has;

static struct {
    uint64_t cr0, cr2, cr4, dr[8], xcr0, xss;
    uint64_t msr[8];
} machine;
static const char *refused; /* the part that the CPU refuses */
static char did[512];

static void note(const char *what)
{
    strncat(did, what, sizeof(did) - strlen(did) - 1);
}

static bool is_refused(const char *what)
{
    return refused && !strcmp(refused, what);
}

static struct cpuid model_cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid r = {0};
    if (leaf == 1)
        r.ecx = has.xsave ? BIT(26) : 0;
    if (leaf == 0xd && subleaf == 0)
        r = (struct cpuid){(uint32_t)has.components, 576, 576, 0};
    if (leaf == 0xd && subleaf == 1)
        r.eax = has.xsaves ? BIT(3) : 0;
    return r;
}

static uint64_t *msr_place(uint32_t msr)
{
    static const uint32_t numbers[] = {MSR_STAR,  MSR_LSTAR,          MSR_CSTAR,
                                       MSR_FMASK, MSR_KERNEL_GS_BASE, MSR_TSC_AUX};
    for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++)
        if (numbers[i] == msr)
            return &machine.msr[i];
    assert_int_equal(msr, MSR_XSS);
    return &machine.xss;
}

static bool model_rdmsr_safe(uint32_t msr, uint64_t *value)
{
    *value = msr == has.missing ? 0 : *msr_place(msr);
    return msr != has.missing;
}

static uint64_t model_rdmsr(uint32_t msr)
{
    assert_int_not_equal(msr, has.missing);
    return *msr_place(msr);
}

static bool model_wrmsr_safe(uint32_t msr, uint64_t value)
{
    assert_int_not_equal(msr, has.missing);
    if (is_refused(msr == MSR_XSS ? "xss" : "msr"))
        return false;
    note(msr == MSR_XSS ? "xss " : "msr ");
    *msr_place(msr) = value;
    return true;
}

static uint64_t xcr0_refused = ~0ull;
static bool model_xsetbv_safe(uint64_t value)
{
    char text[32];
    if (value == xcr0_refused)
        return false;
    snprintf(text, sizeof(text), "xcr0=%lx ", value);
    note(text);
    machine.xcr0 = value;
    return true;
}

static bool model_restore(const char *what)
{
    if (is_refused("fpu"))
        return false;
    note(what);
    return true;
}

static bool model_write_dr6_safe(uint64_t value)
{
    if (is_refused("dr6"))
        return false;
    note("dr6 ");
    machine.dr[6] = value;
    return true;
}

#define cpuid(leaf, subleaf) model_cpuid(leaf, subleaf)
#define rdmsr_safe           model_rdmsr_safe
#define rdmsr                model_rdmsr
#define wrmsr_safe           model_wrmsr_safe
#define xsetbv_safe          model_xsetbv_safe
#define xrstor_safe(area)    ((void)(area), model_restore("xrstor "))
#define fxrstor_safe(area)   ((void)(area), model_restore("fxrstor "))
#define write_dr6_safe       model_write_dr6_safe
#define read_cr0()           machine.cr0
#define read_cr2()           machine.cr2
#define read_cr4()           machine.cr4
#define write_cr0(value)     (machine.cr0 = (value))
#define write_cr2(value)     (machine.cr2 = (value))
#define write_cr4(value)     (machine.cr4 = (value))
#define read_dr0()           machine.dr[0]
#define read_dr1()           machine.dr[1]
#define read_dr2()           machine.dr[2]
#define read_dr3()           machine.dr[3]
#define read_dr6()           machine.dr[6]
#define write_dr0(value)     (machine.dr[0] = (value))
#define write_dr1(value)     (machine.dr[1] = (value))
#define write_dr2(value)     (machine.dr[2] = (value))
#define write_dr3(value)     (machine.dr[3] = (value))

#include "vmx/extra_state.c"

static struct extra_state state;

static int setup(void **context)
{
    (void)context;
    support_reset();
    memset(&machine, 0, sizeof(machine));
    has = (__typeof__(has)){.xsave = true, .xsaves = true, .components = 7};
    has_xss = false; /* as at boot */
    refused = NULL;
    xcr0_refused = ~0ull;
    did[0] = 0;
    return 0;
}

static void begin(void)
{
    extra_state_enable();
    assert_int_equal(extra_state_init(&state), 0);
    state.cr2 = 0x10;
    state.dr0 = 0x20;
    state.dr1 = 0x30;
    state.dr2 = 0x40;
    state.dr3 = 0x50;
    state.dr6 = 0x60;
    state.xcr0 = 3;
    state.xss = 0x70;
    for (unsigned i = 0; i < EXTRA_MSRS; i++)
        state.msrs[i] = 0x1000 + i;
    did[0] = 0;
}

/* ---- Tests ----------------------------------------------------------------------------------- */

#define MSRS "msr msr msr msr msr msr "

static void each_register_is_loaded(void **context)
{
    (void)context;
    begin();
    assert_null(extra_state_load(&state));
    /* The area is restored with all components, whatever XCR0 the guest has. */
    assert_string_equal(did, "dr6 " MSRS "xcr0=7 xrstor xcr0=3 xss ");
    assert_int_equal(machine.cr2, 0x10);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(machine.dr[i], 0x20 + 0x10 * i);
    assert_int_equal(machine.dr[6], 0x60);
    assert_int_equal(machine.xss, 0x70);
    for (unsigned i = 0; i < EXTRA_MSRS; i++)
        assert_int_equal(machine.msr[i], 0x1000 + i);
}

static void and_saved(void **context)
{
    (void)context;
    begin();
    machine.cr2 = 0x11;
    machine.xss = 0x71;
    for (unsigned i = 0; i < 7; i++)
        machine.dr[i] = 0x100 + i;
    for (unsigned i = 0; i < EXTRA_MSRS; i++)
        machine.msr[i] = 0x2000 + i;
    extra_state_save(&state);
    assert_string_equal(did, "xcr0=7 "); /* saved with all components, too */
    assert_int_equal(state.cr2, 0x11);
    assert_int_equal(state.dr0, 0x100);
    assert_int_equal(state.dr1, 0x101);
    assert_int_equal(state.dr2, 0x102);
    assert_int_equal(state.dr3, 0x103);
    assert_int_equal(state.dr6, 0x106);
    assert_int_equal(state.xss, 0x71);
    assert_int_equal(state.xcr0, xgetbv());
    for (unsigned i = 0; i < EXTRA_MSRS; i++)
        assert_int_equal(state.msrs[i], 0x2000 + i);
}

static void a_cpu_without_xsave(void **context)
{
    (void)context;
    has.xsave = has.xsaves = false;
    begin();
    assert_null(extra_state_load(&state));
    assert_string_equal(did, "dr6 " MSRS "fxrstor ");
    assert_int_equal(extra_xcr0(), 0);
    assert_int_equal(machine.cr4 & CR4_OSXSAVE, 0);
    extra_state_save(&state);
}

static void an_msr_that_is_missing(void **context)
{
    (void)context;
    has.missing = MSR_TSC_AUX;
    begin();
    assert_null(extra_state_load(&state));
    assert_string_equal(did, "dr6 msr msr msr msr msr xcr0=7 xrstor xcr0=3 xss ");
    assert_false(extra_msr_exists(5));
    assert_true(extra_msr_exists(4));
    extra_state_save(&state);
    assert_int_equal(state.msrs[5], 0x1005);
}

static void what_is_refused_has_a_name(void **context)
{
    static const struct {
        const char *refused, *name, *before;
        uint64_t xcr0;
    } rows[] = {
        {"dr6", "DR6", "", ~0ull},
        {"msr", "SYSCALL MSRs", "dr6 ", ~0ull},
        {NULL, "FPU state", "dr6 " MSRS, 7},
        {"fpu", "FPU state", "dr6 " MSRS "xcr0=7 ", ~0ull},
        {NULL, "XCR0", "dr6 " MSRS "xcr0=7 xrstor ", 3},
        {"xss", "IA32_XSS", "dr6 " MSRS "xcr0=7 xrstor xcr0=3 ", ~0ull},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        setup(context);
        begin();
        refused = rows[i].refused;
        xcr0_refused = rows[i].xcr0;
        assert_string_equal(extra_state_load(&state), rows[i].name);
        assert_string_equal(did, rows[i].before);
    }
}

/* CPUID lists components that XSETBV refuses. Guests are offered those that every CPU has. */
static void a_cpu_that_refuses_its_components(void **context)
{
    (void)context;
    has.components = 0x602e7;
    xcr0_refused = 0x602e7;
    begin();
    assert_int_equal(extra_xcr0_supported(), 3);
    assert_non_null(strstr(support_log(), "this CPU refuses XCR0 = 0x602e7"));
    assert_null(extra_state_load(&state));
    assert_string_equal(did, "dr6 " MSRS "xcr0=3 xrstor xcr0=3 xss ");
}

/* A new vCPU has the state after a reset (SDM 3, table 10-1). */
static void the_first_state(void **context)
{
    (void)context;
    extra_state_enable();
    assert_int_equal(extra_state_init(&state), 0);
    const uint8_t *area = phys_to_virt(state.fpu);
    assert_int_equal(area[0] | area[1] << 8, 0x37f);
    assert_int_equal(area[24] | area[25] << 8, 0x1f80);
    assert_int_equal(state.dr6, 0xffff0ff0);
    assert_int_equal(state.xcr0, 1);
    extra_state_destroy(&state);
    assert_int_equal(support_pages_in_use(), 0);
    support_fail_allocations_after(0);
    assert_int_equal(extra_state_init(&state), -ENOMEM);
    extra_state_destroy(&state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(each_register_is_loaded, setup),
        cmocka_unit_test_setup(and_saved, setup),
        cmocka_unit_test_setup(a_cpu_without_xsave, setup),
        cmocka_unit_test_setup(an_msr_that_is_missing, setup),
        cmocka_unit_test_setup(what_is_refused_has_a_name, setup),
        cmocka_unit_test_setup(a_cpu_that_refuses_its_components, setup),
        cmocka_unit_test_setup(the_first_state, setup),
    };
    return cmocka_run_group_tests_name("switched state", tests, NULL, NULL);
}
