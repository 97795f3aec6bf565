/* SPDX-License-Identifier: MIT */
/* The life of the machine: boot_main(), which boot/start.S calls with what the loader left in EAX
 * and EBX, sets up the hypervisor, runs the guests, and prints the last line. */
#include "arch/x86/acpi.h"
#include "arch/x86/acpi_power.h"
#include "arch/x86/bus_masters.h"
#include "arch/x86/cpu.h"
#include "arch/x86/cpu_facts.h"
#include "arch/x86/dmar.h"
#include "arch/x86/export_device.h"
#include "arch/x86/guarded.h"
#include "arch/x86/interrupts.h"
#include "arch/x86/kept_log.h"
#include "arch/x86/leftovers.h"
#include "arch/x86/machine_check.h"
#include "arch/x86/this_cpu.h"
#include "arch/x86/mcfg.h"
#include "arch/x86/memory.h"
#include "arch/x86/mitigate.h"
#include "arch/x86/pc_parts.h"
#include "arch/x86/power.h"
#include "arch/x86/qr_log.h"
#include "arch/x86/smbios.h"
#include "arch/x86/smp.h"
#include "arch/x86/srat.h"
#include "arch/x86/tsc.h"
#include "arch/x86/wall_clock.h"
#include "arch/x86/screen.h"
#include "arch/x86/serial.h"
#include "arch/x86/serial_find.h"
#include "boot/boot_info.h"
#include "ept/caps.h"
#include "gdb/gdb.h"
#include "launch/modules.h"
#include "main/gdb_monitor.h"
#include "main/guests.h"
#include "main/report.h"
#include "monitor/set.h"
#include "vm/exits.h"
#include "vm/input.h"
#include "vm/map_dump.h"
#include "vm/pcpu.h"
#include "vm/provoke.h"
#include "vm/trace.h"
#include "lib/log.h"
#include "lib/log_sum.h"
#include "lib/patience.h"
#include "lib/trace.h"
#include "mmu/mmu.h"
#include "vmx/cut_delivery.h"
#include "vmx/extra_state.h"
#include "vmx/vmx.h"

static struct boot_info info;
static uint64_t began; /* TSC */
static struct options options;

#define MSR_ARCH_CAPABILITIES        0x10au
#define ARCH_CAP_PSCHANGE_MC_NO      BIT(6)
#define CPUID7_EDX_ARCH_CAPABILITIES BIT(29)

static bool wants_nx_huge(void)
{
    if (options.nx_huge != NX_HUGE_AUTO)
        return options.nx_huge == NX_HUGE_FORCE;
    return !(cpuid(7, 0).edx & CPUID7_EDX_ARCH_CAPABILITIES) ||
           !(rdmsr(MSR_ARCH_CAPABILITIES) & ARCH_CAP_PSCHANGE_MC_NO);
}

static void setup_memory_mapping(void)
{
    struct ept_caps caps;
    mitigate_decide((enum mitigations)options.mitigations, wants_nx_huge());
    mitigate_start();
    struct mmu_config config = {.mmio_caching = options.mmio_caching,
                                .ad = options.ept_ad,
                                .huge = options.huge,
                                .nx_huge = wants_nx_huge(),
                                .pml = options.pml &&
                                       vmx_has(&vmx.controls, CONTROL_SECONDARY, SECONDARY_PML),
                                .l1tf_cache_bits = mitigate_l1tf_cache_bits(),
                                .slot_generation_start = options.slot_generation_start};
    if (ept_caps_parse(&caps, vmx.msrs.ept_vpid_cap, vmx.maxphyaddr))
        machine_exit(EXIT_NO_EPT);
    if (mmu_setup(&caps, &config))
        machine_exit(EXIT_BAD_COMMAND_LINE);
    options.vpid = options.vpid && caps.invvpid_types &&
                   vmx_has(&vmx.controls, CONTROL_SECONDARY, SECONDARY_VPID);
}

/* GDB and the export channel are at COM2, and each of them needs a port of its own. */
static void refuse_shared_port(void)
{
    bool com2 = options.export == EXPORT_COM2;
    if (com2 && options.gdb[0]) {
        log_error(
            "command line: export=com2 and gdb=%s need the same serial port; use export=e9, or "
            "leave one of them out",
            options.gdb);
        machine_exit(EXIT_BAD_COMMAND_LINE);
    }
    if ((com2 || options.gdb[0]) && serial_is_at(SERIAL_COM2)) {
        log_error("command line: %s%s needs COM2, at 0x2f8, where the console is; choose another "
                  "console with serial=0x3f8 or serial=off, or leave the word out",
                  com2 ? "export=com2" : "gdb=", com2 ? "" : options.gdb);
        machine_exit(EXIT_BAD_COMMAND_LINE);
    }
}

/* Opens the export channel that the command line asks for. */
static void start_export(void)
{
    if (options.export == EXPORT_OFF && options.map) {
        log_error("command line: map=1 needs export=, by which pictures leave the machine");
        machine_exit(EXIT_BAD_COMMAND_LINE);
    }
    if (options.export == EXPORT_OFF)
        return;
    bool e9 = options.export == EXPORT_E9;
    const struct export_device *device = e9 ? export_device_e9() : export_device_com2();
    if (!device) {
        log_error("command line: export=%s, but %s", e9 ? "e9" : "com2",
                  e9 ? "this machine has no debug port at 0xe9; give Bochs \"port_e9_hack: "
                       "enabled=1\" or QEMU \"-debugcon file:NAME\""
                     : "this machine has no second serial port at 0x2f8");
        machine_exit(EXIT_BAD_COMMAND_LINE);
    }
    export_open(device);
    trace_export_begin();
    map_choose(options.map);
}

/* Says what kind of machine this is, and what its firmware has left switched on. From here on, the
 * boot CPU reports errors of the hardware. Returns whether the machine asks for x2APIC mode to stay
 * off. */
static bool describe_machine(void)
{
    const struct cpu_facts *cpu = cpu_facts();
    struct srat srat;
    struct dmar dmar;
    struct bus_masters masters;
    cpu_facts_log(cpu);
    machine_check_init_cpu();
    srat_parse(acpi_table("SRAT"), &srat);
    srat_log(&srat);
    dmar_read(acpi_table("DMAR"), &dmar);
    dmar_log(&dmar);
    bus_masters_find(cpu->below == HYPERVISOR_NONE, &masters);
    bus_masters_log(&masters);
    return dmar.no_x2apic;
}

/* Describes the machine, before anything is used that it may lack. */
static void report(void)
{
    struct vmx_msrs msrs;
    uint64_t feature_control;
    if (!options.report)
        return;
    bool has_vmx = vmx_read_msrs(&msrs);
    bool has_control = rdmsr_safe(MSR_FEATURE_CONTROL, &feature_control);
    report_print(&(struct report){.info = &info,
                                  .names = smbios_names(),
                                  .cpu = cpu_facts(),
                                  .cpuid = cpuid,
                                  .msrs = has_vmx ? &msrs : NULL,
                                  .feature_control = has_control ? &feature_control : NULL,
                                  .tsc_khz = tsc_khz(),
                                  .began = began,
                                  .now = rdtsc(),
                                  .free_pages = memory_free_pages()});
}

/* Finds what the later messages need: the loader's information, consoles, memory, tables. */
static void start_basics(uint32_t magic, uint32_t address)
{
    began = rdtsc();
    interrupts_mask();
    descriptors_init(&cpus[0]);
    log_info("eptvisor: a hypervisor for trying ideas about memory virtualization");
    leftovers_end(0);
    int error = boot_info_parse(&info, magic, address);
    serial_begin(info.command_line);
    screen_init(&info); /* before the error is handled, so that the message is on the screen */
    if (error)
        machine_exit(EXIT_BAD_BOOT_INFO);
    kept_log_start(&info);
    if (memory_init(&info))
        machine_exit(EXIT_NO_MEMORY);
    screen_init(&info);
    acpi_init(&info);
    pc_parts_init();
    mcfg_init(&info);
    acpi_power_init(&info);
    smbios_init(&info);
    if (trace_create_ring(this_cpu()))
        machine_exit(EXIT_NO_MEMORY);
}

static void obey_command_line(void)
{
    if (options_parse(info.command_line, &options) || trace_choose(options.trace) ||
        trace_choose_part(options.trace_vm, options.trace_gpa))
        machine_exit(EXIT_BAD_COMMAND_LINE);
    if (serial_settle(options.serial, &info))
        machine_exit(EXIT_BAD_COMMAND_LINE);
    refuse_shared_port();
    if (options.report)
        log_sum_begin();
    input_set_escape((uint8_t)options.escape);
    machine_set_on_exit((enum on_exit)options.on_exit);
    qr_log_choose(options.qr);
    machine_set_pause(options.pause);
}

static void start_vmx(void)
{
    extra_state_enable();
    vmx.entry_checks = options.entry_checks;
    enum exit_code code = vmx_init();
    if (code)
        machine_exit(code);
    vmx.apicv = options.apicv && vmx_apicv_possible();
    vmx.counts_instructions = counts_instructions();
    const char *why =
        options.apicv ? "; this CPU lacks a control that it would need" : " (apicv=0)";
    log_info("apicv: interrupts of x2APICs are delivered by the %s%s",
             vmx.apicv ? "CPU" : "hypervisor", vmx.apicv ? "" : why);
    if (options.poison && !vmx_can_poison()) {
        log_error("command line: poison=1, but VMWRITE cannot write exit information on this CPU "
                  "(IA32_VMX_MISC bit 29); leave the word out");
        machine_exit(EXIT_BAD_COMMAND_LINE);
    }
    vmx.poison = options.poison;
}

static void machine_start(uint32_t magic, uint32_t address)
{
    start_basics(magic, address);
    obey_command_line();
    tsc_calibrate(&info);
    start_export();
    wall_clock_start();
    patience_set(tsc_khz() * 1000);
    log_info("boot: %s by %s, %u modules, %lu MiB of RAM free, command line \"%s\"", info.protocol,
             info.loader[0] ? info.loader : "?", info.module_count, memory_free_pages() >> 8,
             info.command_line);
    bool no_x2apic = describe_machine();
    report();
    provoke_early((enum provoke)options.provoke);
    smp_start(&info, (unsigned)options.cpus, options.x2apic && !no_x2apic);
    start_vmx();
    setup_memory_mapping();
    cpuid_init();
    pcpus_start();
    memory_mark();
    provoke((enum provoke)options.provoke);
    if (!modules_have_name(&info, "tests", options.tests) ||
        !modules_have_name(&info, "trace_vm", options.trace_vm))
        machine_exit(EXIT_BAD_COMMAND_LINE);
    gdb_set_monitor(&gdb_monitor);
    enum exit_code code = gdb_start(options.gdb, &info);
    if (code)
        machine_exit(code);
}

void boot_main(uint32_t magic, uint32_t address)
{
    machine_start(magic, address);
    monitor_may_set(&options);
    machine_exit(run_guests(&info, &options));
}
