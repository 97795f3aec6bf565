/* SPDX-License-Identifier: MIT */
#include "main/totals.h"

#include "arch/x86/memory.h"
#include "arch/x86/power.h"
#include "lib/log.h"
#include "lib/name_list.h"
#include "lib/page.h"
#include "lib/spinlock.h"
#include "lib/string.h"
#include "mmu/external.h"
#include "vm/counters.h"
#include "vm/exits.h"
#include "vm/pcpu.h"
#include "vm/td.h"
#include "vm/trace.h"
#include "vm/transcript.h"
#include "vm/vm.h"
#include "vm/work.h"

static struct {
    struct spinlock lock;
    unsigned passed, failed, skipped; /* results in the sense of KTAP */
    uint64_t remote_flushes;
    uint64_t kicks;               /* NMIs that caused a VM exit */
    unsigned first_failed;        /* number of the first guest that failed, or 0 */
    enum exit_code first_failure; /* exit code of this guest */
    struct name_list names;       /* of the guests that failed */
} totals;

/* The caller holds the lock. */
static void note_failure(unsigned number, const char *name, enum exit_code code)
{
    name_list_add(&totals.names, name);
    if (!totals.first_failed || number < totals.first_failed) {
        totals.first_failed = number;
        totals.first_failure = code;
    }
}

void totals_failed(unsigned number, const char *name, enum exit_code code)
{
    spin_lock(&totals.lock);
    totals.failed++;
    note_failure(number, name, code);
    spin_unlock(&totals.lock);
}

void totals_skipped(void)
{
    spin_lock(&totals.lock);
    totals.skipped++;
    spin_unlock(&totals.lock);
}

void totals_add_costs(struct vm *vm)
{
    spin_lock(&totals.lock);
    totals.remote_flushes += mmu_stats(&vm->mmu).remote_flushes;
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        totals.kicks += vm->vcpus[i]->exits[REASON_EXCEPTION_OR_NMI] - vm->vcpus[i]->exceptions;
    spin_unlock(&totals.lock);
}

static void count_results(const struct vm *vm, bool passed)
{
    const struct console *console = &vm->console;
    spin_lock(&totals.lock);
    totals.passed += console->passed + (passed && !console_results(console));
    totals.failed += console->failed + (!passed && !console->failed);
    totals.skipped += console->skipped;
    if (!passed)
        note_failure(vm->number, vm->name, EXIT_FAILED);
    spin_unlock(&totals.lock);
}

void totals_add_result(struct vm *vm, unsigned run, unsigned resets)
{
    const struct console *console = &vm->console;
    const enum vm_ending expected = (enum vm_ending)(vm->words.expect + 1);
    struct transcript *out = console->transcript;
    bool passed = vm_passed(vm);
    unsigned results = console_results_since_reset(console);
    char times[32] = "";

    transcript_say_cut(out, vm->name);
    if (!passed || vm->ending != VM_ENDED_EXIT)
        transcript_line(out, "# %s: %s", vm->name, vm->message);
    if (console->planned && console->planned != results)
        transcript_line(out, "# %s: planned %u results but printed %u", vm->name, console->planned,
                        results);
    if (!passed && vm->ending != expected)
        transcript_line(out, "# %s: expected the ending %s, got %s", vm->name,
                        vm_ending_name(expected), vm_ending_name(vm->ending));
    if (resets)
        snprintf(times, sizeof(times), " resets=%u", resets);
    totals_add_costs(vm);
    if (run > 1) {
        transcript_line(out, "# %s: run %u: ended=%s exits=%lu%s", vm->name, run,
                        vm_ending_name(vm->ending), vm_exit_count(vm), times);
        return;
    }
    transcript_line(out, "%sok %u %s # ended=%s exits=%lu%s", passed ? "" : "not ", vm->number,
                    vm->name, vm_ending_name(vm->ending), vm_exit_count(vm), times);
    count_results(vm, passed);
}

/* Prints the counts of the pCPUs. A kick is spurious if the vCPU was not in its guest when the kick
 * arrived. */
static void report_cpus(void)
{
    struct pcpu_counts counts = pcpus_counts();
    log_info("# %u CPUs: %lu turns, %lu of them on another CPU than before, %lu halts, %lu kicks, "
             "%lu of them spurious, %lu remote flushes",
             pcpus_count(), counts.turns, counts.migrations, counts.halts, counts.kicks,
             counts.kicks - totals.kicks, totals.remote_flushes);
}

static void report_work(void)
{
    struct work_counts counts = work_counts();
    log_info("# VMs were created and destroyed in %lu pieces; the longest took %lu TSC ticks",
             counts.pieces, counts.longest);
}

/* Prints the results of all guests, and has them shown with the verdict, with the names of those
 * that failed. */
static void report_results(void)
{
    char text[MACHINE_RESULTS_MAX];
    int length = snprintf(text, sizeof(text), "%u passed, %u failed, %u skipped", totals.passed,
                          totals.failed, totals.skipped);
    log_info("%s", text);
    if (totals.first_failed) {
        length += snprintf(text + length, sizeof(text) - (size_t)length, "; not ok: ");
        name_list_print(&totals.names, text + length, sizeof(text) - (size_t)length);
    }
    machine_set_results(text);
}

enum exit_code totals_report(bool shared, bool counters)
{
    if (pcpus_count() > 1 || shared) /* otherwise no vCPU migrates or is kicked */
        report_cpus();
    if (counters)
        report_work();
    trace_export_end();
    if (!memory_kept())
        log_info("# all memory was returned: %lu pages are free", memory_free_pages());
    report_results();
    if (totals.first_failed)
        return totals.first_failure;
    return log_warnings() ? EXIT_WARNED : EXIT_OK;
}

/* Returns the number of pages of a TD's private pool that are in use, for private memory and for
 * its secure EPT; 0 if the VM is no TD. */
static uint64_t private_pages(const struct vm *vm)
{
    const struct private_pool *p = vm->td ? &vm->td->external->pool : NULL;
    return p ? p->count * ept_frames(EPT_LEVEL_2M) - p->free_frames : 0;
}

void totals_report_memory(const struct vm *vm, uint64_t own)
{
    uint64_t ram = mmu_ram_pages(&vm->mmu) + private_pages(vm), kib = PAGE_SIZE / 1024;
    uint64_t all = memory_used(vm->number) + own;
    transcript_list(vm->console.transcript,
                    "# %s: %lu KiB of RAM are in use, and %lu KiB of other memory", vm->name,
                    ram * kib, (all - ram) * kib);
}
