/* SPDX-License-Identifier: MIT */
/* Carries out the actions of arch/x86/flaws.h; see the header. */
#include "arch/x86/mitigate.h"

#include "arch/x86/cpu.h"
#include "arch/x86/cpu_facts.h"
#include "arch/x86/descriptors.h"
#include "arch/x86/guarded.h"
#include "lib/log.h"
#include "lib/string.h"

#define MSR_SPEC_CTRL         0x48u
#define SPEC_CTRL_IBRS        BIT(0)
#define SPEC_CTRL_BHI_DIS_S   BIT(10)
#define MSR_PRED_CMD          0x49u
#define PRED_CMD_IBPB         BIT(0)
#define MSR_ARCH_CAPABILITIES 0x10au
#define MSR_FLUSH_CMD         0x10bu
#define FLUSH_CMD_L1D         BIT(0)
#define MSR_TSX_CTRL          0x122u
#define TSX_CTRL_OFF          (BIT(0) | BIT(1)) /* RTM transactions abort, and CPUID hides TSX */
#define MSR_MCU_OPT_CTRL      0x123u
#define MCU_OPT_CTRL_OFF      (BIT(0) | BIT(4)) /* RNGDS_MITG_DIS, GDS_MITG_DIS */
#define CPUID7_EDX_ARCH_CAP   BIT(29)

uint32_t mitigate_chosen;
static unsigned l1tf_cache_bits;
static enum mitigations boot_mode;
static struct flaw_input boot_cpu;

/* Twice the size of the largest L1D. The memory read is the hypervisor's own code, which holds no
 * secrets. */
#define L1D_READ (64u << 10)
extern const uint8_t text_start[];

static void read_cpu(struct flaw_input *in)
{
    struct cpu_facts facts;
    struct cpuid zero = cpuid(0, 0);
    struct cpuid seven = zero.eax >= 7 ? cpuid(7, 0) : (struct cpuid){0};
    cpu_facts_parse(&facts, cpuid);
    *in = (struct flaw_input){
        .intel = !strcmp(facts.vendor, "GenuineIntel"),
        .family = facts.family,
        .model = facts.model,
        .stepping = facts.stepping,
        .physical_bits = facts.physical_bits,
        .cpuid7_ebx = seven.ebx,
        .cpuid7_edx = seven.edx,
        .cpuid7_2_edx = seven.eax >= 2 ? cpuid(7, 2).edx : 0,
        .cpuid1_ecx = cpuid(1, 0).ecx,
    };
    if (in->cpuid7_edx & CPUID7_EDX_ARCH_CAP)
        (void)rdmsr_safe(MSR_ARCH_CAPABILITIES, &in->arch_capabilities);
}

void mitigate_decide(enum mitigations wanted, bool nx_huge)
{
    struct flaw_input in;
    struct flaw_verdict verdict;
    char text[160];
    read_cpu(&in);
    in.nx_huge = nx_huge;
    boot_cpu = in;
    boot_mode = wanted;
    flaws_decide(&in, wanted, &verdict);
    mitigate_chosen = verdict.actions;
    l1tf_cache_bits = verdict.l1tf_cache_bits;
    if (wanted == MITIGATIONS_OFF) {
        log_info("mitigations: off");
        return;
    }
    log_info("speculation vulnerabilities: family %u, model %#x, stepping %u, "
             "IA32_ARCH_CAPABILITIES %#lx",
             in.family, in.model, in.stepping, in.arch_capabilities);
    for (unsigned i = 0; i < FLAW_COUNT; i++) {
        flaw_status(&in, &verdict, (enum flaw)i, text, sizeof(text));
        log_info("  %s: %s", flaw_name((enum flaw)i), text);
    }
}

bool mitigate_is_alike(void)
{
    struct flaw_input here;
    char text[160];
    read_cpu(&here);
    bool alike = flaws_alike(&boot_cpu, &here, boot_mode, text, sizeof(text));
    if (!alike)
        log_error("CPU %u runs no guests: %s", this_cpu(), text);
    return alike;
}

unsigned mitigate_l1tf_cache_bits(void)
{
    return l1tf_cache_bits;
}

void mitigate_start(void)
{
    uint32_t does = mitigate_chosen;
    uint64_t value;
    if (does & (DO_IBRS_ALWAYS | DO_IBRS_AT_EXIT))
        wrmsr(MSR_SPEC_CTRL, SPEC_CTRL_IBRS | (does & DO_BHI_DIS_S ? SPEC_CTRL_BHI_DIS_S : 0));
    else if (does & DO_BHI_DIS_S)
        wrmsr(MSR_SPEC_CTRL, SPEC_CTRL_BHI_DIS_S);
    if (does & DO_TSX_OFF)
        wrmsr(MSR_TSX_CTRL, TSX_CTRL_OFF);
    if (does & DO_KEEP_MICROCODE && rdmsr_safe(MSR_MCU_OPT_CTRL, &value) &&
        value & MCU_OPT_CTRL_OFF)
        wrmsr(MSR_MCU_OPT_CTRL, value & ~MCU_OPT_CTRL_OFF);
}

void mitigate_at_exit(void)
{
    wrmsr(MSR_SPEC_CTRL,
          SPEC_CTRL_IBRS | (mitigate_chosen & DO_BHI_DIS_S ? SPEC_CTRL_BHI_DIS_S : 0));
}

/* Reads one byte of every `step` bytes of the L1D_READ bytes at text_start. The loop is in assembly
 * so that its cost is the same with every compiler. */
static void read_for_l1d(size_t step)
{
    const uint8_t *at = text_start;
    __asm__ volatile("1:\tmovb (%0), %%al\n\t"
                     "addq %2, %0\n\t"
                     "cmpq %1, %0\n\t"
                     "jb 1b\n\t"
                     "lfence"
                     : "+r"(at)
                     : "r"(text_start + L1D_READ), "r"(step)
                     : "rax", "cc", "memory");
}

/* Replaces the contents of the L1D by reading every cache line of L1D_READ bytes. One byte of each
 * page is read first, so that no TLB miss occurs in between. */
static void fill_l1d(void)
{
    read_for_l1d(4096);
    read_for_l1d(64);
}

/* Clears CPU buffers by VERW with a memory operand, which is the form that clears them (SDM 2,
 * VERW; Intel's guide to MDS). */
static void clear_buffers(void)
{
    uint16_t selector = SEL_DATA;
    __asm__ volatile("verw %0" : : "m"(selector) : "cc");
}

void mitigate_change_vm(void)
{
    uint32_t does = mitigate_chosen;
    if (does & DO_IBPB)
        wrmsr(MSR_PRED_CMD, PRED_CMD_IBPB);
    if (does & DO_L1D_FLUSH_MSR)
        wrmsr(MSR_FLUSH_CMD, FLUSH_CMD_L1D);
    if (does & DO_L1D_FLUSH_READ)
        fill_l1d();
    if (does & DO_VERW)
        clear_buffers();
}
