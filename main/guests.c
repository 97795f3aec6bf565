/* SPDX-License-Identifier: MIT */
#include "main/guests.h"

#include "arch/x86/kick.h"
#include "arch/x86/this_cpu.h"
#include "arch/x86/memory.h"
#include "arch/x86/tsc.h"
#include "gdb/gdb.h"
#include "launch/create.h"
#include "main/pool.h"
#include "main/reset.h"
#include "main/totals.h"
#include "monitor/monitor.h"
#include "monitor/start.h"
#include "vm/counters.h"
#include "vm/ipi.h"
#include "launch/modules.h"
#include "vm/pcpu.h"
#include "vm/registry.h"
#include "vm/sched.h"
#include "vm/td_report.h"
#include "vm/sleep.h"
#include "vm/trace.h"
#include "vm/transcript.h"
#include "vm/visit.h"
#include "vm/vm.h"
#include "vm/watch.h"
#include "vm/work.h"
#include "lib/assert.h"
#include "lib/bits.h"
#include "lib/log.h"
#include "lib/page.h"
#include "lib/string.h"

#include <stddef.h>

extern const char image_start[], image_end[];

/* A guest from its creation to its end. */
struct guest {
    struct vm vm;
    struct work work; /* the creation or destruction of the VM */
    struct entry entry;
    struct vm_making making;
    struct reset_record resets;
    enum exit_code code; /* if not EXIT_OK, the reason why the VM could not be created */
};

static const struct boot_info *info;
static const struct options *options;

static struct guest *guest_of_vm(struct vm *vm)
{
    return (struct guest *)((char *)vm - offsetof(struct guest, vm));
}

#define GUEST_PAGES (align_up(sizeof(struct guest), PAGE_SIZE) / PAGE_SIZE)

static hpa_t guest_alloc(void)
{
    unsigned order = 0;
    while (1u << order < GUEST_PAGES)
        order++;
    hpa_t page = page_alloc(order);
    if (!page_is_none(page))
        page_trim(page, order, GUEST_PAGES);
    return page;
}

static void guest_free(struct guest *guest)
{
    page_free_trimmed(virt_to_phys(guest), GUEST_PAGES);
    vm_work_for(NULL);
}

/* Called when the guest's KTAP line has been added and its resources have been freed. Closes the
 * transcript. If this was the last guest, wakes the idle pCPUs, so that they leave their main
 * loop. */
static void guest_finish(const struct entry *entry)
{
    transcript_close(entry->out);
    if (pool_finish(entry))
        sched_wake_all();
}

static void guest_not_started(const struct entry *entry, enum exit_code code)
{
    if (entry->run > 1) {
        transcript_line(entry->out, "# %s: not started again", entry->name);
    } else {
        transcript_line(entry->out, "not ok %u %s # not started", entry->number, entry->name);
        totals_failed(entry->number, entry->name, code);
    }
    guest_finish(entry);
}

static struct guest *guest_of_work(struct work *work)
{
    return (struct guest *)((char *)work - offsetof(struct guest, work));
}

static bool guest_make(struct work *work);

/* Begins to create the VM of a guest, as work of this pCPU. */
static void guest_begin(struct guest *guest, bool again)
{
    const struct entry *entry = &guest->entry;
    guest->making = (struct vm_making){.vm = &guest->vm,
                                       .number = entry->number,
                                       .module = &info->modules[entry->module],
                                       .extra = entry->extra,
                                       .options = options,
                                       .last_chance = entry->last_chance,
                                       .again = again};
    guest->work.piece = guest_make;
    guest->work.keeps_keys = true; /* a key may choose this VM, which can't take it yet */
    work_add(&guest->work);
}

/* Executes a piece of the destruction of a guest's VM; a function for struct work. After the last
 * piece, begins to create the VM anew, or frees the guest and finishes its report. */
static bool guest_unmake(struct work *work)
{
    struct guest *guest = guest_of_work(work);
    struct entry entry = guest->entry;
    enum exit_code code = guest->code;
    uint64_t start = rdtsc();
    bool over = map_at_end(&guest->vm, start * 1000 / tsc_khz()) && vm_destroy_piece(&guest->vm);
    guest->resets.ticks += rdtsc() - start;
    if (!over)
        return true;
    if (guest->vm.again) {
        guest_begin(guest, true);
        return false;
    }
    guest_free(guest);
    if (code)
        guest_not_started(&entry, code);
    else
        guest_finish(&entry);
    return false;
}

static void guest_take_apart(struct guest *guest)
{
    guest->work.piece = guest_unmake;
    guest->work.keeps_keys = false;
    work_add(&guest->work);
}

/* Called when nobody holds the VM any more. A vCPU that runs here has a limited time now. */
static void guest_unused(struct vm *vm)
{
    guest_take_apart(guest_of_vm(vm));
    pcpu_kick(this_cpu());
}

/* Called when the VM cannot be created, or not yet for lack of memory. What exists of it is
 * destroyed in further pieces. */
static void guest_refused(struct guest *guest, enum exit_code code)
{
    struct entry entry = guest->entry;
    bool put_off = guest->vm.put_off;
    guest->code = code;
    if (guest->making.exists) {
        guest_take_apart(guest);
        return;
    }
    guest_free(guest);
    if (put_off)
        pool_put_off(&entry);
    else
        guest_not_started(&entry, code);
}

/* Called when the guest has reset its VM, which starts anew, and all vCPUs have stopped. */
static void guest_restart(struct guest *guest)
{
    struct vm *vm = &guest->vm;
    log_info("# %s: %s; it starts again", vm->name, vm->message);
    reset_keep(&guest->resets, vm);
    totals_add_costs(vm);
    trace_forget(vm->number);
    vm_work_for(NULL);
    registry_remove(vm, guest_unused);
}

/* Adds the VM to the registry, and puts its vCPUs that do not wait for a start-up IPI into run
 * queues. They may leave the VM, and end it, at once. */
static void start_vcpus(struct vm *vm)
{
    unsigned active = vm->active;
    vm_work_for(NULL);
    for (unsigned i = 0; i < active; i++)
        visit_open(vm->vcpus[i]);
    registry_add(vm);
    monitor_sees(vm);
    gdb_offer(vm);
    for (unsigned i = 0; i < active; i++)
        sched_add(vm->vcpus[i]);
}

/* Called when the VM has been created. Starts it, or, if tests= excludes the guest, reports it as
 * skipped and destroys the VM. */
static void guest_made(struct guest *guest)
{
    struct vm *vm = &guest->vm;
    struct transcript *out = guest->entry.out;
    char tests[WORD_TEXT_MAX];
    options_tests(options, tests);
    vm->console.transcript = out;
    vm->console.live = vm->words.live;
    trace_begin(vm);
    transcript_set_name(out, vm->name);
    vm_work_for(vm);
    if (guest->resets.count) {
        reset_restore(&guest->resets, vm);
    } else if (guest->entry.run > 1 || options_match(tests, vm->name)) {
        transcript_line(out, "# %s: %lu MiB%s%s", vm->name, vm->words.memory >> 20,
                        vm->words.testctl ? ", testctl" : "",
                        guest->entry.run > 1 ? ", started again by the monitor" : "");
    } else {
        transcript_line(out, "ok %u %s # SKIP by tests=%s", vm->number, vm->name, tests);
        totals_skipped();
        vm_work_for(NULL);
        guest_take_apart(guest);
        return;
    }
    start_vcpus(vm);
}

/* Executes a piece of the creation of a guest's VM; a function for struct work. */
static bool guest_make(struct work *work)
{
    struct guest *guest = guest_of_work(work);
    enum exit_code code;
    transcript_speak_for(guest->entry.out, guest->entry.name);
    uint64_t start = rdtsc();
    bool over = vm_make_piece(&guest->making, &code);
    guest->resets.ticks += rdtsc() - start;
    vm_work_for(NULL);
    if (over && code)
        guest_refused(guest, code);
    else if (over)
        guest_made(guest);
    return !over;
}

/* Begins to create the VM of a guest, as work of this pCPU. Returns false if the guest's modules or
 * the memory for its struct guest do not permit this, which has been reported. */
static bool start_guest(struct entry *entry)
{
    const struct image_place image = {virt_to_phys(image_start).v, virt_to_phys(image_end).v};
    vm_work_for(NULL);
    if (!entry->out)
        entry->out = transcript_open(entry->number);
    transcript_speak_for(entry->out, entry->name);
    enum exit_code code = modules_check(info, entry->module, entry->extra, image);
    hpa_t page = code ? PAGE_NONE : guest_alloc();
    if (!code && page_is_none(page))
        log_error("no host memory to describe the VM; %s", page_shortage());
    vm_work_for(NULL);
    if (page_is_none(page)) {
        guest_not_started(entry, code ? code : EXIT_NO_MEMORY);
        return false;
    }
    struct guest *guest = phys_to_virt(page);
    guest->vm.put_off = false;
    guest->code = EXIT_OK;
    guest->entry = *entry;
    guest->resets.count = 0;
    guest_begin(guest, false);
    return true;
}

/* Called when a vCPU has stopped because its VM has ended, or because it waits for a start-up IPI.
 * If no vCPU of the VM is active any more, writes the VM's report and begins to destroy the VM. */
static void vcpu_leave_vm(struct vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    if (__atomic_sub_fetch(&vm->active, 1, __ATOMIC_ACQ_REL))
        return;
    vm_work_for(vm);
    if (vm_ending(vm) == VM_RUNNING)
        vm_end(vm, VM_ENDED_HALTED,
               "all its vCPUs wait for a start-up IPI, which only one of them could send");
    if (vm->words.vga)
        vga_finish(&vm->vga);
    console_finish(&vm->console);
    if (vm->again) {
        guest_restart(guest_of_vm(vm));
        return;
    }
    td_report_measurements(vm);
    trace_report(vm);
    if (options->counters || !vm_passed(vm))
        counters_report(vm);
    if (options->counters || !vm_passed(vm) || vm->ending == VM_ENDED_BUDGET)
        activity_report(vm);
    if (options->counters)
        totals_report_memory(vm, GUEST_PAGES);
    totals_add_result(vm, guest_of_vm(vm)->entry.run, guest_of_vm(vm)->resets.count);
    vm_work_for(NULL);
    registry_remove(vm, guest_unused);
}

/* Puts a vCPU whose turn is over to sleep if it is halted or paused and has no work left, and
 * otherwise into a run queue. */
static void put_aside(struct vcpu *vcpu)
{
    const struct attention *requests = &vcpu->vmx.attention;
    if (attention_requested(requests, ATTENTION_HALTED | ATTENTION_PAUSE) &&
        !attention_requested(requests, ATTENTION_CHORES))
        sleep_add(vcpu);
    else
        sched_add(vcpu);
}

static void run_turn(struct vcpu *vcpu)
{
    vcpu_run(vcpu);
    const struct attention *requests = &vcpu->vmx.attention;
    bool ended = attention_requested(requests, ATTENTION_ENDED);
    if (ended)
        visit_close(vcpu);
    if (ended || (attention_requested(requests, ATTENTION_STOP) && !ipi_restarts(vcpu)))
        vcpu_leave_vm(vcpu);
    else
        put_aside(vcpu);
}

/* Prints queued text of the VMs, but stops after one piece if a vCPU waits for a pCPU, and then
 * wakes an idle pCPU to print the rest. */
static void print_waiting_text(void)
{
    while (unlikely(transcript_has_text())) {
        watch_leave();
        if (!transcript_print())
            return;
        if (sched_anyone_waits()) {
            sched_wake_one();
            return;
        }
    }
}

/* The main loop of every pCPU that runs guests. */
static void pcpu_run_guests(void)
{
    struct entry entry;
    for (;;) {
        print_waiting_text();
        bool works = pcpu_has_work();
        if (unlikely(works)) {
            watch_leave();
            work_turn();
            works = pcpu_has_work();
        }
        /* New guests are started before a vCPU gets its turn, because a turn has no end while
         * nothing waits for the pCPU. */
        while (!works && pool_take(&entry))
            works = start_guest(&entry);
        struct vcpu *vcpu = sched_take();
        if (!vcpu && !works)
            vcpu = sleep_take();
        if (vcpu || works)
            watch_leave();
        if (vcpu)
            run_turn(vcpu);
        else if (works)
            sched_busy();
        else if (!monitor_is_open() && pool_is_empty()) /* in this order: `start` fills the pool */
            return;
        else if (!transcript_print() && !trace_send_piece())
            watch_idle();
    }
}

/* How long, in milliseconds, to wait for the other pCPUs to leave pcpu_run_guests() when all guests
 * are done. A pCPU that does not leave it could still use memory that is about to be freed. */
#define RETURN_MS 1000

static void run_on_all(void)
{
    for (unsigned i = 1; i < cpu_count; i++)
        if (pcpus_running() & BIT(i))
            cpu_give_work(i, pcpu_run_guests);
    pcpu_run_guests();
    while (transcript_waits()) /* another pCPU may hold the printer */
        (void)transcript_print();
    for (unsigned i = 1; i < cpu_count; i++)
        WARN_ON(!cpu_wait_work(i, RETURN_MS));
}

/* ---- Starting again -------------------------------------------------------------------------- */

static uint32_t looking; /* `look` is in some pCPU's list; atomic */

/* Does nothing: a pCPU that has work ends the turn of its vCPU, and then looks at the pool. */
static bool look_at_pool(struct work *unused)
{
    (void)unused;
    __atomic_store_n(&looking, 0, __ATOMIC_SEQ_CST);
    return false;
}

static struct work look = {.piece = look_at_pool};

static void guest_start_again(const char *which, struct start_answer *answer)
{
    pool_start_again(which, answer);
    if (answer->how != START_BEGINS || __atomic_exchange_n(&looking, 1, __ATOMIC_SEQ_CST))
        return;
    work_add(&look);
    pcpu_kick(this_cpu());
}

/* ---- The run --------------------------------------------------------------------------------- */

enum exit_code run_guests(const struct boot_info *boot_info, const struct options *in_force)
{
    info = boot_info;
    options = in_force;
    unsigned limit = options->parallel ? (unsigned)options->parallel : pcpus_count();
    unsigned guests = pool_begin(info, limit);
    if (!guests && options->report)
        return totals_report(false, options->counters);
    if (!guests) {
        log_error("no guest to run: the loader passed no module; give at least one guest program");
        return EXIT_NO_GUESTS;
    }
    log_info("KTAP version 1");
    log_info("1..%u", guests);
    transcript_listen();
    monitor_may_start(guest_start_again);
    monitor_start(options->monitor);
    run_on_all();
    return totals_report(limit > 1, options->counters);
}
