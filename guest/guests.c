#include "guest/guests.h"

#include "arch/x86/memory.h"
#include "guest/counters.h"
#include "guest/trace.h"
#include "guest/vm.h"
#include "lib/assert.h"
#include "lib/log.h"
#include "lib/page.h"

extern const char image_start[], image_end[];

struct totals {
    unsigned passed, failed, skipped;
    enum exit_code first_failure;
};

static struct vm vm; /* one at a time */

static bool overlaps(const struct boot_module *a, const struct boot_module *b)
{
    return a->base.v < b->base.v + b->size && b->base.v < a->base.v + a->size;
}

/* A module that shares bytes with another or with the image was loaded wrongly; what is in it is
 * anyone's guess. */
static enum exit_code check_placement(const struct boot_info *info, unsigned index)
{
    const struct boot_module *module = &info->modules[index];
    const struct boot_module image = {.base = virt_to_phys(image_start),
                                      .size = (uint64_t)(image_end - image_start)};

    for (unsigned i = 0; i < info->module_count; i++) {
        if (i != index && overlaps(module, &info->modules[i])) {
            log_error("module %u (%s) at %#lx to %#lx overlaps module %u (%s) at %#lx to %#lx",
                      index + 1, module->string, module->base.v, module->base.v + module->size,
                      i + 1, info->modules[i].string, info->modules[i].base.v,
                      info->modules[i].base.v + info->modules[i].size);
            return EXIT_MODULE_OVERLAP;
        }
    }
    if (overlaps(module, &image)) {
        log_error("module %u (%s) at %#lx overlaps the hypervisor at %#lx to %#lx", index + 1,
                  module->string, module->base.v, image.base.v, image.base.v + image.size);
        return EXIT_MODULE_OVERLAP;
    }
    return EXIT_OK;
}

/* A module whose string begins with a plus sign belongs to the guest before it. */
static bool belongs_to_guest(const struct boot_module *module)
{
    return module->string[0] == '+';
}

static void not_started(unsigned number, const char *name, enum exit_code code,
                        struct totals *totals)
{
    log_info("not ok %u %s # not started", number, name);
    totals->failed++;
    if (!totals->first_failure)
        totals->first_failure = code;
}

/* The KTAP line of a VM that ran, and why it says so. */
static void report(unsigned number, struct totals *totals)
{
    const struct console *console = &vm.console;
    const enum vm_ending expected = (enum vm_ending)(vm.words.expect + 1);
    bool passed = vm_passed(&vm);
    unsigned results = console_results(console);

    if (!passed || vm.ending != VM_ENDED_EXIT)
        log_info("# %s: %s", vm.name, vm.sentence);
    if (console->planned && console->planned != results)
        log_info("# %s: planned %u results but printed %u", vm.name, console->planned, results);
    if (vm.ending != expected)
        log_info("# %s: expected the ending %s, got %s", vm.name, vm_ending_name(expected),
                 vm_ending_name(vm.ending));
    log_info("%sok %u %s # ended=%s exits=%lu", passed ? "" : "not ", number, vm.name,
             vm_ending_name(vm.ending), vcpu_exit_count(&vm.vcpu));
    totals->passed += console->passed + (passed && !results);
    totals->failed += console->failed + (!passed && !console->failed);
    totals->skipped += console->skipped;
    if (!passed && !totals->first_failure)
        totals->first_failure = EXIT_FAILED;
}

static void run_guest(const struct boot_info *info, unsigned first, unsigned extra, unsigned number,
                      const struct options *options, struct totals *totals)
{
    const struct boot_module *module = &info->modules[first];
    enum exit_code code = EXIT_OK;

    for (unsigned i = first; !code && i <= first + extra; i++)
        code = check_placement(info, i);
    if (!code)
        code = vm_create(&vm, module, extra, options);
    if (code) {
        not_started(number, module->string, code, totals);
        return;
    }
    if (!options_match(options->tests, vm.name)) {
        log_info("ok %u %s # SKIP by tests=%s", number, vm.name, options->tests);
        totals->skipped++;
    } else {
        log_info("# %s: %lu MiB%s", vm.name, vm.words.memory >> 20,
                 vm.words.testctl ? ", testctl" : "");
        vm.number = (uint16_t)number;
        vm_run(&vm);
        console_finish(&vm.console);
        trace_report(&vm);
        if (options->counters || !vm_passed(&vm))
            counters_report(&vm);
        report(number, totals);
    }
    vm_destroy(&vm);
}

enum exit_code run_guests(const struct boot_info *info, const struct options *options)
{
    struct totals totals = {0};
    uint64_t free_before = memory_free_pages();
    unsigned guests = 0, number = 0;

    for (unsigned i = 0; i < info->module_count; i++)
        guests += !belongs_to_guest(&info->modules[i]);
    if (!guests) {
        log_error("no guest to run: the loader passed no module; give at least one guest program");
        return EXIT_NO_GUESTS;
    }
    log_info("KTAP version 1");
    log_info("1..%u", guests);
    for (unsigned i = 0; i < info->module_count; i++) {
        unsigned extra = 0;
        if (belongs_to_guest(&info->modules[i]))
            continue;
        while (i + extra + 1 < info->module_count &&
               belongs_to_guest(&info->modules[i + extra + 1]))
            extra++;
        run_guest(info, i, extra, ++number, options, &totals);
    }
    WARN_ON(memory_free_pages() != free_before); /* a VM kept pages */

    log_info("%u passed, %u failed, %u skipped", totals.passed, totals.failed, totals.skipped);
    if (totals.first_failure)
        return totals.first_failure;
    return log_warnings() ? EXIT_WARNED : EXIT_OK;
}
