/* SPDX-License-Identifier: MIT */
/* Machine checks of this machine's CPUs; see the header. */
#include "arch/x86/machine_check.h"

#include "arch/x86/cpu.h"
#include "arch/x86/cpu_facts.h"
#include "arch/x86/guarded.h"
#include "arch/x86/mc_error.h"
#include "arch/x86/power.h"
#include "arch/x86/this_cpu.h"
#include "arch/x86/tsc.h"
#include "lib/log.h"
#include "lib/spinlock.h"
#include "lib/string.h"

#define MSR_MCG_CAP    0x179u
#define MSR_MCG_STATUS 0x17au
#define MSR_MCG_CTL    0x17bu

/* The four registers of a bank. */
#define MSR_MC_CTL(bank)    (0x400u + 4 * (bank))
#define MSR_MC_STATUS(bank) (0x401u + 4 * (bank))
#define MSR_MC_ADDR(bank)   (0x402u + 4 * (bank))
#define MSR_MC_MISC(bank)   (0x403u + 4 * (bank))

#define CPUID1_EDX_MCE BIT(7)
#define CPUID1_EDX_MCA BIT(14)

#define FAMILY_P6         6
#define MODEL_OWNS_BANK_0 0x1au /* in older models, MC0_CTL is the firmware's (SDM 3, 16.3.2.1) */

#define WAIT_MS  100u     /* for what the other CPUs have found */
#define PATIENCE 1000000u /* turns, for a CPU that does not release the lock */

/* IA32_MCG_CAP, or 0 if this CPU has no banks. */
static uint64_t read_cap(void)
{
    uint64_t cap = 0;
    if (cpuid(1, 0).edx & CPUID1_EDX_MCA)
        (void)rdmsr_safe(MSR_MCG_CAP, &cap);
    return cap;
}

/* Reads a bank. Returns false if it holds no error. */
static bool read_bank(struct mc_error *e, uint32_t bank)
{
    e->bank = bank;
    e->address = e->misc = 0;
    if (!rdmsr_safe(MSR_MC_STATUS(bank), &e->status) || !(e->status & MC_STATUS_VAL))
        return false;
    if (e->status & MC_STATUS_ADDRV)
        (void)rdmsr_safe(MSR_MC_ADDR(bank), &e->address);
    if (e->status & MC_STATUS_MISCV)
        (void)rdmsr_safe(MSR_MC_MISC(bank), &e->misc);
    return true;
}

static void read_banks(struct mc_errors *errors)
{
    struct mc_error e = {.cpu = this_cpu(), .cap = read_cap()};
    unsigned count = mc_bank_count(e.cap);
    if (count)
        (void)rdmsr_safe(MSR_MCG_STATUS, &e.global);
    for (uint32_t bank = 0; bank < count; bank++)
        if (read_bank(&e, bank))
            mc_errors_add(errors, &e);
}

/* ---- At boot --------------------------------------------------------------------------------- */

static void log_left_over(const struct mc_errors *left)
{
    const struct mc_error *worst = mc_errors_worst(left);
    char text[MC_TEXT_SIZE];
    if (!worst)
        return;
    mc_error_text(worst, text, sizeof(text));
    log_info("machine checks: CPU %u has %u from before this boot: %s", worst->cpu,
             left->count + left->dropped, text);
}

/* An error whose bit in IA32_MCi_CTL is 0 is recorded, but not signalled, and the program goes on
 * with wrong data. What a bank holds would keep it from recording the next error. A CPU that
 * refuses one of the writes has no such register. */
static void enable_banks(uint64_t cap)
{
    const struct cpu_facts *cpu = cpu_facts();
    bool firmwares = cpu->family == FAMILY_P6 && cpu->model < MODEL_OWNS_BANK_0;
    if (cap & MCG_CAP_CTL && !wrmsr_safe(MSR_MCG_CTL, ~0ull))
        return;
    for (uint32_t bank = 0; bank < mc_bank_count(cap); bank++) {
        bool enabled = (!bank && firmwares) || wrmsr_safe(MSR_MC_CTL(bank), ~0ull);
        if (enabled && !wrmsr_safe(MSR_MC_STATUS(bank), 0))
            return;
    }
}

void machine_check_init_cpu(void)
{
    if (!(cpuid(1, 0).edx & CPUID1_EDX_MCE))
        return;
    if (!strcmp(cpu_facts()->vendor, "GenuineIntel")) {
        struct mc_errors left = {.count = 0};
        read_banks(&left);
        log_left_over(&left);
        enable_banks(read_cap());
    }
    write_cr4(read_cr4() | CR4_MCE);
}

/* ---- At a machine check ---------------------------------------------------------------------- */

static struct mc_errors found;
static struct spinlock lock; /* of `found` */
static uint32_t first;       /* number + 1 of the CPU that prints, else 0 */
static uint32_t arrived;     /* CPUs whose banks have been read */

static void collect(void)
{
    for (unsigned i = 0; !spin_trylock(&lock) && i < PATIENCE; i++)
        cpu_relax();
    read_banks(&found);
    spin_unlock(&lock);
    __atomic_fetch_add(&arrived, 1, __ATOMIC_RELEASE);
}

/* A machine check that concerns one CPU is sent to no other one on machines where the firmware has
 * chosen so (LMCE). */
static void wait_for_others(void)
{
    uint64_t start = rdtsc(), ticks = tsc_ticks(WAIT_MS);
    while (__atomic_load_n(&arrived, __ATOMIC_ACQUIRE) < cpu_count && rdtsc() - start < ticks)
        cpu_relax();
}

static void log_found(void)
{
    char text[MC_TEXT_SIZE];
    for (unsigned i = 0; i < found.count; i++) {
        const struct mc_error *e = &found.row[i];
        mc_error_text(e, text, sizeof(text));
        log_info("  CPU %u: %s", e->cpu, text);
        mc_detail_text(e, text, sizeof(text));
        log_info("    %s", text);
    }
    if (found.dropped)
        log_info("  and %u more", found.dropped);
}

/* Says what this CPU's global registers say. Returns whether the hardware has raised #MC. */
static bool log_global(void)
{
    uint64_t cap = read_cap(), global = 0;
    char text[48];
    bool exists = rdmsr_safe(MSR_MCG_STATUS, &global);
    if (!cap || !exists) {
        log_info("  this CPU has no machine-check banks that could say more");
        return true;
    }
    mc_global_text(global, text, sizeof(text));
    log_info("  IA32_MCG_CAP %#lx (%u banks), IA32_MCG_STATUS %#lx (%s)", cap, mc_bank_count(cap),
             global, text);
    return global & MCG_STATUS_MCIP;
}

void machine_check_report(const char *where)
{
    uint32_t nobody = 0, self = this_cpu() + 1;
    bool prints = __atomic_compare_exchange_n(&first, &nobody, self, false, __ATOMIC_SEQ_CST,
                                              __ATOMIC_SEQ_CST);
    collect();
    while (!prints)
        __asm__ volatile("cli; hlt");
    wait_for_others();
    log_divert(NULL); /* the exception may have happened in the function that keeps lines */
    log_error("#MC machine check on CPU %u, %s: the hardware reports an error", this_cpu(), where);
    bool by_hardware = log_global();
    log_found();
    if (by_hardware)
        log_info("  what to do: %s", mc_advice(mc_errors_worst(&found)));
    else
        log_info("  MCIP is 0: no hardware has raised this, but INT 18 in the hypervisor");
}

void machine_check_end(const char *where)
{
    machine_check_report(where);
    machine_exit(EXIT_PANIC);
}
