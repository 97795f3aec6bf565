#include "arch/x86/smp.h"

#include "arch/x86/apic.h"
#include "arch/x86/unprivileged.h"
#include "arch/x86/cpus.h"
#include "arch/x86/kick.h"
#include "arch/x86/madt.h"
#include "arch/x86/paging.h"
#include "arch/x86/tsc.h"
#include "boot/ap_start.h"
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

struct ap_start ap_start;

static uint32_t stage(void)
{
    return __atomic_load_n(&ap_start.stage, __ATOMIC_ACQUIRE);
}

static void set_stage(uint32_t to)
{
    __atomic_store_n(&ap_start.stage, to, __ATOMIC_RELEASE);
}

void ap_main(struct cpu *cpu)
{
    set_stage(AP_STAGE_C);
    paging_init_cpu();
    descriptors_init(cpu);
    apic_init_cpu();
    ap_start.tsc = rdtsc();
    set_stage(AP_STAGE_READY);
    cpu_work_loop();
}

/* The stacks of the CPU that comes next. */
static bool map_stacks(struct cpu *cpu)
{
    if (cpu->stacks) /* of one with this number that was left out */
        return true;
    cpu->stacks = (struct guarded_stack *)AP_STACKS + (cpu->number - 1) * STACK_COUNT;
    for (unsigned i = 0; i < STACK_COUNT; i++) {
        hpa_t pages = page_alloc(STACK_ORDER);
        if (page_is_none(pages) || !paging_map_data(cpu->stacks[i].stack, pages, STACK_SIZE))
            return false;
    }
    return true;
}

static void wait_for_stage(uint32_t wanted, uint64_t microseconds)
{
    uint64_t end = rdtsc() + microseconds * tsc_khz() / 1000;
    while (stage() < wanted && rdtsc() < end)
        cpu_relax();
}

static void wake(const struct cpu *cpu, hpa_t page)
{
    ap_start = (struct ap_start){
        .root = paging_root().v, .stack = stack_top(cpu, STACK_BOOT), .cpu = &cpus[cpu->number]};
    apic_send_init(cpu->apic_id);
    tsc_wait(INIT_US);
    for (unsigned i = 0; i < 2 && stage() == AP_STAGE_WOKEN; i++) {
        apic_send_startup(cpu->apic_id, page);
        wait_for_stage(AP_STAGE_FLAT, STARTUP_US);
    }
    wait_for_stage(AP_STAGE_READY, ANSWER_MS * 1000);
}

/* Whatever woke too late is put to sleep again: it must not run with the next one's stack. */
static bool leave_out(const struct cpu *cpu, const char *why)
{
    apic_send_init(cpu->apic_id);
    log_error("the CPU with APIC ID %u %s; it is left out", cpu->apic_id, why);
    return false;
}

static bool start(struct cpu *cpu, hpa_t page)
{
    static const char *const stages[] = {
        [AP_STAGE_WOKEN] = "gives no sign of life after INIT and two start-up IPIs",
        [AP_STAGE_FLAT] = "left real mode but does not arrive in 64-bit mode",
        [AP_STAGE_LONG] = "arrived in 64-bit mode but not on our page tables",
        [AP_STAGE_C] = "is on our page tables but does not load its descriptors",
    };
    uint64_t before = rdtsc();
    wake(cpu, page);
    uint64_t after = rdtsc();
    if (stage() != AP_STAGE_READY)
        return leave_out(cpu, stages[stage()]);
    if (ap_start.tsc < before || ap_start.tsc > after)
        return leave_out(cpu, "has a TSC that is not synchronous with the boot CPU's");
    return true;
}

static void start_all(const struct madt *madt, hpa_t page, unsigned limit)
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
        if (!map_stacks(cpu)) {
            log_error("no memory for the stacks of CPU %lu; it and all further ones are left out",
                      cpu->number);
            return;
        }
        if (start(cpu, page))
            cpu_count++;
    }
}

void smp_start(const struct boot_info *info, unsigned limit, bool x2apic)
{
    struct madt madt;
    if (limit == 1 || !apic_init(x2apic))
        return;
    cpus[0].apic_id = apic_id();
    if (madt_parse(acpi_table("APIC"), cpus[0].apic_id, &madt))
        return;
    hpa_t page = boot_low_page(info);
    if (page_is_none(page))
        log_error("no page of RAM below 640 KiB is free, where other CPUs could start; of %u only "
                  "the boot CPU is used",
                  madt.count + madt.unused);
    else
        start_all(&madt, page, limit);
    log_info("cpus: %u in use of %u that ACPI lists, each reached by its %s", cpu_count,
             madt.count + madt.unused, apic_is_x2apic() ? "x2APIC" : "xAPIC");
}
