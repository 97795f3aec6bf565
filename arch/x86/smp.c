/* SPDX-License-Identifier: MIT */
/* Starts the other CPUs; see the header. */
#include "arch/x86/smp.h"

#include "arch/x86/apic.h"
#include "arch/x86/cpu_facts.h"
#include "arch/x86/unprivileged.h"
#include "arch/x86/cpus.h"
#include "arch/x86/interrupts.h"
#include "arch/x86/kick.h"
#include "arch/x86/leftovers.h"
#include "arch/x86/machine_check.h"
#include "arch/x86/madt.h"
#include "arch/x86/paging.h"
#include "arch/x86/tsc.h"
#include "boot/ap_start.h"
#include "lib/host_tlb.h"
#include "lib/log.h"
#include "lib/page.h"
#include "lib/spinlock.h"
#include "lib/string.h"

#define STACK_ORDER 2
_Static_assert(STACK_SIZE == PAGE_SIZE << STACK_ORDER, "a block of pages");

/* SDM 3, 9.4.4.1: 10 ms after INIT, 200 us between the two start-up IPIs. */
#define INIT_US    10000u
#define STARTUP_US 200u
#define ANSWER_MS  1000u

/* The numbers of the questions to a CPU that is ready begin with 1. After the last one it begins to
 * work. */
#define TSC_ROUNDS 4u
#define NO_MORE    UINT32_MAX

struct ap_start ap_start;

static uint32_t ap_stage(void)
{
    return __atomic_load_n(&ap_start.stage, __ATOMIC_ACQUIRE);
}

static void ap_set_stage(uint32_t to)
{
    __atomic_store_n(&ap_start.stage, to, __ATOMIC_RELEASE);
}

/* Answers the boot CPU's question, if there is one. Returns false after the last. */
static bool ap_answer(void)
{
    uint32_t asked = __atomic_load_n(&ap_start.asked, __ATOMIC_ACQUIRE);
    uint64_t adjust;
    if (asked == ap_start.told)
        return true;
    if (ap_start.adjusts && tsc_read_adjust(&adjust) && adjust != ap_start.adjust &&
        tsc_write_adjust(ap_start.adjust))
        ap_start.changed = adjust;
    load_fence();
    ap_start.tsc = rdtsc();
    __atomic_store_n(&ap_start.told, asked, __ATOMIC_RELEASE);
    return asked != NO_MORE;
}

void ap_main(struct cpu *cpu)
{
    ap_set_stage(AP_STAGE_C);
    interrupts_mask();
    paging_init_cpu();
    descriptors_init(cpu);
    leftovers_end((unsigned)cpu->number);
    host_tlb_join((unsigned)cpu->number);
    apic_init_cpu();
    machine_check_init_cpu();
    struct cpu_facts facts;
    cpu_facts_parse(&facts, cpuid);
    cpu->core_kind = facts.core_kind;
    ap_set_stage(AP_STAGE_READY);
    while (ap_answer())
        cpu_relax();
    cpu_work_loop();
}

/* Maps the stacks of the next CPU. */
static bool ap_map_stacks(struct cpu *cpu)
{
    if (cpu->stacks) /* of a CPU with this number that was left out */
        return true;
    cpu->stacks = (struct guarded_stack *)AP_STACKS + (cpu->number - 1) * STACK_COUNT;
    for (unsigned i = 0; i < STACK_COUNT; i++) {
        hpa_t pages = page_alloc(STACK_ORDER);
        if (page_is_none(pages) || !paging_map_data(cpu->stacks[i].stack, pages, STACK_SIZE))
            return false;
    }
    return true;
}

static void ap_wait_for_stage(uint32_t wanted, uint64_t microseconds)
{
    uint64_t end = rdtsc() + microseconds * tsc_khz() / 1000;
    while (ap_stage() < wanted && rdtsc() < end)
        cpu_relax();
}

static void ap_wake(const struct cpu *cpu, hpa_t page)
{
    ap_start = (struct ap_start){
        .root = paging_root().v, .stack = stack_top(cpu, STACK_BOOT), .cpu = &cpus[cpu->number]};
    apic_send_init(cpu->apic_id);
    tsc_wait(INIT_US);
    for (unsigned i = 0; i < 2 && ap_stage() == AP_STAGE_WOKEN; i++) {
        apic_send_startup(cpu->apic_id, page);
        ap_wait_for_stage(AP_STAGE_FLAT, STARTUP_US);
    }
    ap_wait_for_stage(AP_STAGE_READY, ANSWER_MS * 1000);
}

/* Leaves a CPU out. INIT stops the CPU in case it starts late: it must not run on the stack of the
 * next one. */
static bool ap_leave_out(const struct cpu *cpu, const char *why)
{
    apic_send_init(cpu->apic_id);
    log_error("the CPU with APIC ID %u %s; it is left out", cpu->apic_id, why);
    return false;
}

/* Returns false if there is no answer for a second. */
static bool ap_ask(uint32_t number)
{
    uint64_t end = rdtsc() + ANSWER_MS * tsc_khz();
    __atomic_store_n(&ap_start.asked, number, __ATOMIC_RELEASE);
    while (__atomic_load_n(&ap_start.told, __ATOMIC_ACQUIRE) != number) {
        if (rdtsc() > end)
            return false;
        cpu_relax();
    }
    return true;
}

/* Does the CPU's TSC count as the boot CPU's does? Between each question and its answer, which are
 * a fraction of a microsecond apart if nobody interferes, the CPU reads its TSC. A difference that
 * is larger is seen in the shortest round, and one that is seen in any round is real. */
static bool ap_tsc_agrees(uint32_t first)
{
    for (uint32_t i = 0; i < TSC_ROUNDS; i++) {
        uint64_t before = rdtsc();
        if (!ap_ask(first + i))
            return false;
        load_fence();
        if (ap_start.tsc < before || ap_start.tsc > rdtsc())
            return false;
    }
    return true;
}

/* Firmware that writes the TSC of some CPUs leaves them with a different IA32_TSC_ADJUST. Without
 * that, the TSCs of a package count alike since the reset (SDM 3, 18.17.3). */
static bool ap_tsc_adjusts(const struct cpu *cpu)
{
    if (!tsc_read_adjust(&ap_start.adjust))
        return false;
    ap_start.changed = ap_start.adjust;
    ap_start.adjusts = true;
    if (!ap_tsc_agrees(1 + TSC_ROUNDS))
        return false;
    log_info("the CPU with APIC ID %u had %#lx in IA32_TSC_ADJUST, and now has the boot CPU's %#lx",
             cpu->apic_id, ap_start.changed, ap_start.adjust);
    return true;
}

static bool ap_start_one(struct cpu *cpu, hpa_t page)
{
    static const char *const stages[] = {
        [AP_STAGE_WOKEN] = "does not respond after INIT and two start-up IPIs",
        [AP_STAGE_FLAT] = "left real mode but did not reach 64-bit mode",
        [AP_STAGE_LONG] = "reached 64-bit mode but did not load the final page tables",
        [AP_STAGE_C] = "loaded the final page tables but not its descriptor tables",
    };
    ap_wake(cpu, page);
    if (ap_stage() != AP_STAGE_READY)
        return ap_leave_out(cpu, stages[ap_stage()]);
    bool agrees = ap_tsc_agrees(1) || ap_tsc_adjusts(cpu);
    if (ap_start.told != ap_start.asked || (agrees && !ap_ask(NO_MORE)))
        return ap_leave_out(cpu, "became ready, and does not answer any more");
    if (!agrees)
        return ap_leave_out(cpu, "has a TSC that is not synchronous with the boot CPU's");
    return true;
}

static void ap_start_all(const struct madt *madt, hpa_t page, unsigned limit)
{
    memcpy(phys_to_virt(page), ap_trampoline, (size_t)(ap_trampoline_end - ap_trampoline));
    for (unsigned i = 1; i < madt->count && cpu_count < limit; i++) {
        struct cpu *cpu = &cpus[cpu_count];
        cpu->number = cpu_count;
        cpu->offset = cpu->number * CPU_RECORD;
        cpu->apic_id = madt->apic_id[i];
        if (cpu->apic_id > apic_id_max()) {
            log_error("the CPU with APIC ID %u can be reached by an x2APIC only; it is left out",
                      cpu->apic_id);
            continue;
        }
        if (!ap_map_stacks(cpu)) {
            log_error("no memory for the stacks of CPU %lu; it and all further ones are left out",
                      cpu->number);
            return;
        }
        if (ap_start_one(cpu, page))
            cpu_count++;
    }
}

/* Says which kinds of cores the CPUs of a hybrid machine are threads of. */
static void smp_log_kinds(void)
{
    unsigned performance = 0, efficient = 0;
    for (unsigned i = 0; i < cpu_count; i++) {
        performance += cpus[i].core_kind == CORE_KIND_PERFORMANCE;
        efficient += cpus[i].core_kind == CORE_KIND_EFFICIENT;
    }
    if (cpus[0].core_kind)
        log_info("cpus: hybrid: %u are threads of performance cores, %u of efficient cores, %u of "
                 "others",
                 performance, efficient, cpu_count - performance - efficient);
}

void smp_start(const struct boot_info *info, unsigned limit, bool x2apic)
{
    struct madt madt;
    if (limit == 1 || !apic_init(x2apic))
        return;
    cpus[0].apic_id = apic_id();
    cpus[0].core_kind = cpu_facts()->core_kind;
    if (madt_parse(acpi_table("APIC"), cpus[0].apic_id, &madt))
        return;
    hpa_t page = boot_low_page(info);
    if (page_is_none(page))
        log_error("no page of RAM below 640 KiB is free, where other CPUs could start; of %u only "
                  "the boot CPU is used",
                  madt.count + madt.unused);
    else
        ap_start_all(&madt, page, limit);
    log_info("cpus: %u in use of %u that ACPI lists, each reached by its %s", cpu_count,
             madt.count + madt.unused, apic_is_x2apic() ? "x2APIC" : "xAPIC");
    smp_log_kinds();
}
