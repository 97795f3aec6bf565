/* The life of the hypervisor, from the boot loader to the last line. */
#include "arch/x86/acpi.h"
#include "arch/x86/descriptors.h"
#include "arch/x86/memory.h"
#include "arch/x86/power.h"
#include "arch/x86/tsc.h"
#include "arch/x86/serial.h"
#include "arch/x86/vga.h"
#include "boot/boot_info.h"
#include "ept/caps.h"
#include "guest/provoke.h"
#include "guest/vm.h"
#include "lib/assert.h"
#include "lib/log.h"
#include "lib/page.h"
#include "mmu/mmu.h"
#include "vmx/extra_state.h"
#include "vmx/vmx.h"

/* Called by boot/start.S with what the loader left in EAX and EBX. */
NORETURN void boot_main(uint32_t magic, uint32_t address);

struct totals {
    unsigned passed, failed, skipped;
    enum exit_code first_failure;
};

static struct boot_info info;
static struct options options;
static struct vm vm;

static void setup_memory_mapping(void)
{
    struct ept_caps caps;
    struct mmu_config config = {.mmio_caching = options.mmio_caching,
                                .ad = options.ept_ad,
                                .huge = options.huge,
                                .slot_generation_start = options.slot_generation_start};
    if (ept_caps_parse(&caps, vmx.msrs.ept_vpid_cap, vmx.maxphyaddr))
        machine_exit(EXIT_NO_EPT);
    if (mmu_setup(&caps, &config))
        machine_exit(EXIT_BAD_COMMAND_LINE);
    options.vpid = options.vpid && caps.invvpid_types &&
                   vmx_has(&vmx.controls, CONTROL_SECONDARY, SECONDARY_VPID);
}

static void start(uint32_t magic, uint32_t address)
{
    serial_init();
    log_add_console(serial_write);
    descriptors_init();
    log_info("eptvisor: a hypervisor for trying ideas about memory virtualization");
    if (boot_info_parse(&info, magic, address))
        machine_exit(EXIT_BAD_BOOT_INFO);
    vga_init(&info);
    if (memory_init(&info))
        machine_exit(EXIT_NO_MEMORY);
    acpi_init(&info);
    if (options_parse(info.command_line, &options))
        machine_exit(EXIT_BAD_COMMAND_LINE);
    machine_set_on_exit((enum on_exit)options.on_exit);
    tsc_calibrate();
    log_info("boot: %s by %s, %u modules, %lu MiB of RAM free, TSC %lu kHz, command line \"%s\"",
             info.protocol, info.loader[0] ? info.loader : "?", info.module_count,
             memory_free_pages() >> 8, tsc_khz(), info.command_line);
    extra_state_enable();
    vmx.entry_checks = options.entry_checks;
    enum exit_code code = vmx_init();
    if (code)
        machine_exit(code);
    setup_memory_mapping();
    provoke((enum provoke)options.provoke);
}

static bool overlaps(const struct boot_module *a, const struct boot_module *b)
{
    return a->base.v < b->base.v + b->size && b->base.v < a->base.v + a->size;
}

/* A module that shares bytes with another or with the image was loaded wrongly; what is in it is
 * anyone's guess. */
static enum exit_code check_placement(unsigned index)
{
    extern const char image_start[], image_end[];
    const struct boot_module *module = &info.modules[index];
    const struct boot_module image = {.base = virt_to_phys(image_start),
                                      .size = (uint64_t)(image_end - image_start)};

    for (unsigned i = 0; i < info.module_count; i++) {
        if (i != index && overlaps(module, &info.modules[i])) {
            log_error("module %u (%s) at %#lx to %#lx overlaps module %u (%s) at %#lx to %#lx",
                      index + 1, module->string, module->base.v, module->base.v + module->size,
                      i + 1, info.modules[i].string, info.modules[i].base.v,
                      info.modules[i].base.v + info.modules[i].size);
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

/* Runs one VM and prints its KTAP line. */
static void run_guest(unsigned number, const struct boot_module *module, struct totals *totals)
{
    enum exit_code code = check_placement(number - 1);
    if (!code)
        code = vm_create(&vm, module, &options);
    if (code) {
        log_info("not ok %u %s # not started", number, module->string);
        totals->failed++;
        if (!totals->first_failure)
            totals->first_failure = code;
        return;
    }
    if (!options_match(options.tests, vm.name)) {
        vm_destroy(&vm);
        log_info("ok %u %s # SKIP by tests=%s", number, vm.name, options.tests);
        totals->skipped++;
        return;
    }
    log_info("# %s: %lu MiB%s", vm.name, vm.words.memory >> 20,
             vm.words.testctl ? ", testctl" : "");
    vm_run(&vm);
    vm_destroy(&vm);

    bool passed = vm_passed(&vm);
    unsigned results = console_results(&vm.console);
    log_info("# %s: %s", vm.name, vm.sentence);
    if (vm.console.planned && vm.console.planned != results)
        log_info("# %s: planned %u results but printed %u", vm.name, vm.console.planned, results);
    if (vm.ending != vm.words.expect + 1)
        log_info("# %s: expected the ending %s, got %s", vm.name,
                 vm_ending_name((enum vm_ending)(vm.words.expect + 1)), vm_ending_name(vm.ending));
    log_info("%sok %u %s # ended=%s exits=%lu", passed ? "" : "not ", number, vm.name,
             vm_ending_name(vm.ending), vm.vcpu.exit_count);
    totals->passed += vm.console.passed + (passed && !results);
    totals->failed += vm.console.failed + (!passed && !vm.console.failed);
    totals->skipped += vm.console.skipped;
    if (!passed && !totals->first_failure)
        totals->first_failure = EXIT_FAILED;
}

void boot_main(uint32_t magic, uint32_t address)
{
    struct totals totals = {0};

    start(magic, address);
    if (!info.module_count) {
        log_error("no guest to run: the loader passed no module; give at least one guest program");
        machine_exit(EXIT_NO_GUESTS);
    }
    uint64_t free_before = memory_free_pages();
    log_info("KTAP version 1");
    log_info("1..%u", info.module_count);
    for (unsigned i = 0; i < info.module_count; i++)
        run_guest(i + 1, &info.modules[i], &totals);
    WARN_ON(memory_free_pages() != free_before);

    log_info("%u passed, %u failed, %u skipped", totals.passed, totals.failed, totals.skipped);
    if (totals.first_failure)
        machine_exit(totals.first_failure);
    machine_exit(log_warnings() ? EXIT_WARNED : EXIT_OK);
}
