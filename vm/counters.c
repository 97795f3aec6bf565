/* SPDX-License-Identifier: MIT */
/* The counters' names and the report of their values. A counter that KVM has, too, has KVM's
 * name. */
#include "vm/counters.h"
#include "vm/vm.h"

#include "lib/bits.h"
#include "lib/log.h"
#include "lib/string.h"

static const char *const names[COUNTER_COUNT] = {
    [COUNTER_SLOT_SEARCHES] = "slot_searches",
    [COUNTER_MMIO_SPTE_CREATED] = "pf_mmio_spte_created",
    [COUNTER_MMIO_CACHE_HITS] = "mmio_cache_hits",
    [COUNTER_MMIO_SPTE_HITS] = "mmio_spte_hits",
    [COUNTER_MMIO_SPTE_STALE] = "mmio_spte_stale",
    [COUNTER_MMIO_EMULATED] = "mmio_exits",
    [COUNTER_INVEPT] = "invept",
    [COUNTER_INVVPID] = "invvpid",
    [COUNTER_PAGES_4K] = "pages_4k",
    [COUNTER_PAGES_2M] = "pages_2m",
    [COUNTER_FULL_ZAPS] = "full_zaps",
    [COUNTER_EVENTS_REQUEUED] = "events_requeued",
    [COUNTER_GVA_CACHE_HITS] = "gva_cache_hits",
    [COUNTER_STALE_TRANSLATIONS] = "stale_translations",
    [COUNTER_FAULTS] = "violations",
    [COUNTER_EXITS] = "exits",
    [COUNTER_FAST_FAULTS] = "pf_fast",
    [COUNTER_SPLITS] = "splits",
    [COUNTER_PAGES_1G] = "pages_1g",
    [COUNTER_TABLES] = "tables",
    [COUNTER_PF_TAKEN] = "pf_taken",
    [COUNTER_PF_FIXED] = "pf_fixed",
    [COUNTER_PF_EMULATE] = "pf_emulate",
    [COUNTER_PF_SPURIOUS] = "pf_spurious",
    [COUNTER_INVLPG] = "invlpg",
    [COUNTER_REMOTE_TLB_FLUSH] = "remote_tlb_flush",
    [COUNTER_NX_LPAGE_SPLITS] = "nx_lpage_splits",
    [COUNTER_BUS_UNCLAIMED] = "bus_unclaimed",
    [COUNTER_BUS_REFUSED] = "bus_refused",
    [COUNTER_POISON_TICKS] = "poison_ticks",
    [COUNTER_NET_SENT] = "net_sent",
    [COUNTER_NET_RECEIVED] = "net_received",
    [COUNTER_NET_LOST] = "net_lost",
    [COUNTER_INVEPT_DEBT] = "invept_debt",
};

const char *counter_name(unsigned counter)
{
    return names[counter];
}

/* The number of faults that were not fixed. Fixed faults, the common case, are not counted: they
 * are the rest of all faults. */
static uint64_t not_fixed(const struct mmio_stats *stats)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < FAULT_RESULTS; i++)
        sum += stats->faults_not_fixed[i];
    return sum;
}

uint64_t vcpu_exit_count(const struct vcpu *vcpu)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < REASON_COUNT; i++)
        sum += vcpu->exits[i];
    return sum;
}

uint64_t vm_exit_count(const struct vm *vm)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        sum += vcpu_exit_count(vm->vcpus[i]);
    return sum;
}

void counters_read(const struct vcpu *vcpu, uint64_t values[COUNTER_COUNT])
{
    const struct mmu_stats sums = mmu_stats(&vcpu->vm->mmu), *mmu = &sums;
    const struct mmio_stats *mmio = &vcpu->mmio.stats;
    uint64_t taken = mmu->faults + mmu->mmio_spte_stale;
    struct switch_counts net = {0};
    if (vcpu->vm->net)
        net = switch_counts(&vcpu->vm->net->device.port);
    const uint64_t now[COUNTER_COUNT] = {
        [COUNTER_SLOT_SEARCHES] = mmu->slot_searches,
        [COUNTER_MMIO_SPTE_CREATED] = mmu->mmio_spte_created,
        [COUNTER_MMIO_CACHE_HITS] = mmio->cache_hits,
        [COUNTER_MMIO_SPTE_HITS] = mmio->spte_hits,
        [COUNTER_MMIO_SPTE_STALE] = mmio->spte_stale,
        [COUNTER_MMIO_EMULATED] = mmio->emulated,
        [COUNTER_INVEPT] = mmu_invept_count(&vcpu->vm->mmu),
        [COUNTER_INVVPID] = mmu_invvpid_count(&vcpu->vm->mmu),
        [COUNTER_PAGES_4K] = mmu->pages[0],
        [COUNTER_PAGES_2M] = mmu->pages[1],
        [COUNTER_FULL_ZAPS] = mmu->full_zaps,
        [COUNTER_EVENTS_REQUEUED] = vcpu->events_requeued,
        [COUNTER_GVA_CACHE_HITS] = vcpu->mmio.cache.gva_hits,
        [COUNTER_STALE_TRANSLATIONS] = mmio->stale_translations,
        [COUNTER_FAULTS] = mmu->faults,
        [COUNTER_EXITS] = vcpu_exit_count(vcpu),
        [COUNTER_FAST_FAULTS] = mmu->fast_faults,
        [COUNTER_SPLITS] = mmu->splits,
        [COUNTER_PAGES_1G] = mmu->pages[2],
        [COUNTER_TABLES] = mmu->tables,
        [COUNTER_PF_TAKEN] = taken,
        [COUNTER_PF_FIXED] = taken - not_fixed(mmio),
        [COUNTER_PF_EMULATE] =
            mmio->faults_not_fixed[FAULT_EMULATE] + mmio->faults_not_fixed[FAULT_WRITE_PROTECTED],
        [COUNTER_PF_SPURIOUS] = mmio->faults_not_fixed[FAULT_SPURIOUS],
        [COUNTER_INVLPG] = vcpu->exits[REASON_INVLPG],
        [COUNTER_REMOTE_TLB_FLUSH] = mmu->remote_flushes,
        [COUNTER_NX_LPAGE_SPLITS] = mmu->nx_splits,
        [COUNTER_BUS_UNCLAIMED] = vcpu->vm->mmio_bus.unclaimed + vcpu->vm->port_bus.unclaimed,
        [COUNTER_BUS_REFUSED] = vcpu->vm->mmio_bus.refused + vcpu->vm->port_bus.refused,
        [COUNTER_POISON_TICKS] = vcpu->poison_ticks,
        [COUNTER_NET_SENT] = net.sent,
        [COUNTER_NET_RECEIVED] = net.received,
        [COUNTER_NET_LOST] = net.lost,
        [COUNTER_INVEPT_DEBT] = mmu->invept[INVEPT_DEBT],
    };
    memcpy(values, now, sizeof(now));
}

static const char *const reasons[DEBT_REASONS] = {
#define X(name, text) [DEBT_##name] = text,
    FLUSH_REASONS(X)
#undef X
};

#define LINE 100

struct report {
    const struct vm *vm;
    char line[2 * LINE];
    int used;
};

static void report_end_line(struct report *report)
{
    if (report->used)
        transcript_list(report->vm->console.transcript, "# %s:%s", report->vm->name, report->line);
    report->used = 0;
}

static PRINTF(2, 3) void report_add(struct report *report, const char *format, ...)
{
    va_list arguments;
    size_t room = sizeof(report->line) - (size_t)report->used;
    va_start(arguments, format);
    report->used += vsnprintf(report->line + report->used, room, format, arguments);
    va_end(arguments);
    if (report->used >= LINE)
        report_end_line(report);
}

void counters_report(const struct vm *vm)
{
    uint64_t values[COUNTER_COUNT];
    struct report report = {.vm = vm};
    counters_read(&vm->vcpu, values);
    for (unsigned i = 0; i < COUNTER_COUNT; i++)
        report_add(&report, " %s=%lu", names[i], values[i]);
    for (unsigned i = 0; i < DEBT_REASONS; i++)
        if (mmu_invept_for(&vm->mmu, i))
            report_add(&report, " invept_%s=%lu", reasons[i], mmu_invept_for(&vm->mmu, i));
    report_end_line(&report);
}

/* ---- What the VM did ------------------------------------------------------------------------- */

#define EXITS_SHOWN  6   /* the most frequent reasons, if they are at least 1 % */
#define MISSED_SHOWN 3   /* the most frequent addresses of each bus */
#define MISSED_SHARE 16  /* an address is shown if at least every 16th access is to it, */
#define MISSED_FEW   100 /* and not only a search for devices */

static void report_exits(struct report *report)
{
    const struct vm *vm = report->vm;
    uint64_t sums[REASON_COUNT] = {0}, all = vm_exit_count(vm);
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        for (unsigned j = 0; j < REASON_COUNT; j++)
            sums[j] += vm->vcpus[i]->exits[j];
    report_add(report, " exits of all vCPUs: %lu", all);
    for (unsigned shown = 0; shown < EXITS_SHOWN; shown++) {
        unsigned most = 0;
        for (unsigned j = 0; j < REASON_COUNT; j++)
            if (sums[j] > sums[most])
                most = j;
        if (!sums[most] || sums[most] * 100 < all)
            break;
        report_add(report, "%s %lu by %s (%lu %%)", report->used ? "," : "", sums[most],
                   exit_reason_name(most), sums[most] * 100 / all);
        sums[most] = 0;
    }
    report_end_line(report);
}

static void report_missed(struct report *report, const struct bus *bus, const char *what)
{
    for (unsigned rank = 0; rank < MISSED_SHOWN; rank++) {
        uint64_t count, address = bus_missed_most(bus, rank, &count);
        if (count < MISSED_FEW || count * MISSED_SHARE < bus->unclaimed)
            break;
        report_add(report, " no device is at %s %#lx: %lu accesses", what, address, count);
        report_end_line(report);
    }
}

void activity_report(const struct vm *vm)
{
    struct report report = {.vm = vm};
    report_exits(&report);
    report_missed(&report, &vm->port_bus, "port");
    report_missed(&report, &vm->mmio_bus, "address");
}
