/* SPDX-License-Identifier: MIT */
/* Saves and restores the guest state that is not in the VMCS; see the header. */
#include "vmx/extra_state.h"

#include "arch/x86/cpu.h"
#include "arch/x86/guarded.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/page.h"
#include "lib/string.h"
#include "vmx/init_state.h"
#include "vmx/xcr0.h"

#define CPUID1_XSAVE  BIT(26) /* ECX */
#define CPUID7_PKU    BIT(3)  /* ECX */
#define CPUIDD_XSAVES BIT(3)  /* EAX of subleaf 1 */
#define FCW_RESET     0x37f
#define MXCSR_RESET   0x1f80
#define AREA_ORDER    2 /* 16 KiB are enough for every XSAVE area, including AMX's */

const uint32_t extra_msrs[EXTRA_MSRS] = {MSR_STAR,  MSR_LSTAR,          MSR_CSTAR,
                                         MSR_FMASK, MSR_KERNEL_GS_BASE, MSR_TSC_AUX};

static bool has_xsave, has_xss, has_pku;
static bool msr_exists[EXTRA_MSRS];
static uint64_t xcr0_supported;

static uint64_t xgetbv(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static uint32_t rdpkru(void)
{
    uint32_t value, zero;
    __asm__ volatile("rdpkru" : "=a"(value), "=d"(zero) : "c"(0));
    return value;
}

static void wrpkru(uint32_t value)
{
    __asm__ volatile("wrpkru" : : "a"(value), "c"(0), "d"(0));
}

bool extra_msr_exists(unsigned index)
{
    return msr_exists[index];
}

void extra_state_enable(void)
{
    uint64_t cr4 = read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT, ignored;

    has_xsave = cpuid(1, 0).ecx & CPUID1_XSAVE;
    has_pku = cpuid(0, 0).eax >= 7 && cpuid(7, 0).ecx & CPUID7_PKU;
    write_cr0((read_cr0() | CR0_MP) & ~(CR0_EM | CR0_TS));
    write_cr4(cr4 | (has_xsave ? CR4_OSXSAVE : 0) | (has_pku ? CR4_PKE : 0));
    if (has_xsave) {
        struct cpuid d = cpuid(0xd, 0);
        has_xss = cpuid(0xd, 1).eax & CPUIDD_XSAVES;
        xcr0_supported = xcr0_largest((uint64_t)d.edx << 32 | d.eax);
        if (!xsetbv_safe(xcr0_supported)) {
            log_warn(
                "this CPU refuses XCR0 = %#lx, which CPUID says it has: guests get x87 and SSE",
                xcr0_supported);
            xcr0_supported = XCR0_X87 | XCR0_SSE;
        }
        /* If the components do not fit into the area, guests get only those that do. */
        if (cpuid(0xd, 0).ebx > PAGE_SIZE << AREA_ORDER)
            xcr0_supported &= XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512;
    }
    for (unsigned i = 0; i < EXTRA_MSRS; i++)
        msr_exists[i] = rdmsr_safe(extra_msrs[i], &ignored);
}

int extra_state_init(struct extra_state *state)
{
    *state =
        (struct extra_state){.dr6 = DR6_RESET, .xcr0 = XCR0_X87, .fpu = page_alloc(AREA_ORDER)};
    if (page_is_none(state->fpu)) {
        log_error("no %llu KiB of contiguous memory for a guest's FPU state",
                  (PAGE_SIZE << AREA_ORDER) >> 10);
        return -ENOMEM;
    }
    char *area = phys_to_virt(state->fpu);
    uint16_t fcw = FCW_RESET;
    uint32_t mxcsr = MXCSR_RESET;
    page_clear(area, AREA_ORDER);
    memcpy(area, &fcw, sizeof(fcw));
    memcpy(area + 24, &mxcsr, sizeof(mxcsr));
    return 0;
}

void extra_state_destroy(struct extra_state *state)
{
    if (state->fpu.v && !page_is_none(state->fpu))
        page_free(state->fpu, AREA_ORDER);
}

/* Loads debug and address registers, then MSRs, then the FPU state while XCR0 has all components
 * enabled, then the guest's XCR0, XSS and PKRU. extra_state_save() uses the same order. */
const char *extra_state_load(struct extra_state *state)
{
    const char *area = phys_to_virt(state->fpu);

    write_cr2(state->cr2);
    write_dr0(state->dr0);
    write_dr1(state->dr1);
    write_dr2(state->dr2);
    write_dr3(state->dr3);
    if (!write_dr6_safe(state->dr6))
        return "DR6";
    for (unsigned i = 0; i < EXTRA_MSRS; i++)
        if (msr_exists[i] && !wrmsr_safe(extra_msrs[i], state->msrs[i]))
            return "SYSCALL MSRs";
    if (has_xsave ? !xsetbv_safe(xcr0_supported) || !xrstor_safe(area) : !fxrstor_safe(area))
        return "FPU state";
    if (has_xsave && !xsetbv_safe(state->xcr0))
        return "XCR0";
    if (has_xss && !wrmsr_safe(MSR_XSS, state->xss))
        return "IA32_XSS";
    if (has_pku)
        wrpkru(state->pkru);
    return NULL;
}

void extra_state_save(struct extra_state *state)
{
    char *area = phys_to_virt(state->fpu);

    state->cr2 = read_cr2();
    state->dr0 = read_dr0();
    state->dr1 = read_dr1();
    state->dr2 = read_dr2();
    state->dr3 = read_dr3();
    state->dr6 = read_dr6();
    for (unsigned i = 0; i < EXTRA_MSRS; i++)
        if (msr_exists[i])
            state->msrs[i] = rdmsr(extra_msrs[i]);
    if (has_pku)
        state->pkru = rdpkru();
    if (has_xss)
        state->xss = rdmsr(MSR_XSS);
    if (has_xsave) {
        state->xcr0 = xgetbv();
        if (!xsetbv_safe(xcr0_supported))
            return; /* XCR0 was not loaded either */
        __asm__ volatile("xsave64 (%0)" : : "r"(area), "a"(~0u), "d"(~0u) : "memory");
    } else {
        __asm__ volatile("fxsave64 (%0)" : : "r"(area) : "memory");
    }
}

uint64_t extra_xcr0(void)
{
    return has_xsave ? xgetbv() : 0;
}

uint64_t extra_xcr0_supported(void)
{
    return xcr0_supported;
}
