/* SPDX-License-Identifier: MIT */
/* Creates a VM from a boot module, and destroys it. */
#include "launch/create.h"

#include "arch/x86/cpu.h"
#include "arch/x86/memory.h"
#include "arch/x86/tsc.h"
#include "boot/boot_info.h"
#include "guest/abi.h"
#include "launch/boot_state.h"
#include "launch/devices.h"
#include "launch/kut.h"
#include "launch/loader.h"
#include "launch/modules.h"
#include "launch/needs.h"
#include "launch/td_plan.h"
#include "launch/virtio_devices.h"
#include "launch/words.h"
#include "vm/exits.h"
#include "vm/pcpu.h"
#include "vm/provoke.h"
#include "vm/sleep.h"
#include "vm/startup.h"
#include "vm/td.h"
#include "vm/td_memory.h"
#include "vm/ve.h"
#include "vm/regular.h"
#include "vm/vm.h"
#include "lib/errno.h"
#include "lib/ledger.h"
#include "lib/log.h"
#include "lib/page.h"
#include "lib/string.h"
#include "mmu/spte.h"
#include "mmu/tlb.h"
#include "vmx/init_state.h"
#include "vmx/vmcs.h"

/* Declares the stolen bits of the VM's guest-physical addresses, and that it takes #VE if it has
 * the word `ve`. */
static int vm_declare_addresses(struct vm *vm)
{
    int error = 0;
    if (vm->words.shared)
        error = mmu_steal_bit(&vm->mmu, (unsigned)vm->words.shared, STOLEN_SHARED);
    if (!error && vm->words.execute_only)
        error = mmu_steal_bit(&vm->mmu, (unsigned)vm->words.execute_only, STOLEN_EXECUTE_ONLY);
    if (!error && vm->words.ve)
        error = mmu_take_ve(&vm->mmu);
    return error;
}

static int vm_add_memory(struct vm *vm)
{
    int error = mmu_slot_add(&vm->mmu, GUEST_FIRMWARE_SLOT, GPA(GUEST_BIOS),
                             (GUEST_MIDDLE - GUEST_BIOS) >> PAGE_SHIFT, 0);
    if (error)
        return error;
    guest_layout(vm->words.memory, vm->ram);
    for (uint32_t i = 0; i < GUEST_RAM_PIECES; i++) {
        if (!vm->ram[i].size)
            continue;
        error = mmu_slot_add(&vm->mmu, GUEST_RAM_SLOT + i, vm->ram[i].base,
                             vm->ram[i].size >> PAGE_SHIFT, 0);
        if (error)
            return error;
    }
    if (vm->words.legacy && !vm->words.vga)
        return mmu_slot_add(&vm->mmu, GUEST_VGA_SLOT, GPA(VGA_TEXT), VGA_TEXT_SIZE >> PAGE_SHIFT,
                            0);
    if (!vm->words.tdx)
        return 0;
    return mmu_slot_add(&vm->mmu, GUEST_SHIM_SLOT, GPA(GUEST_SHIM), GUEST_SHIM_SIZE >> PAGE_SHIFT,
                        0);
}

/* ---- The vCPU -------------------------------------------------------------------------------- */

static void vcpu_destroy(struct vcpu *vcpu)
{
    td_vcpu_destroy(vcpu);
    extra_state_destroy(&vcpu->extra);
    vmx_vcpu_destroy(&vcpu->vmx);
    tlb_vpid_free(vcpu->vpid);
}

static int vcpu_create(struct vcpu *vcpu, struct vm *vm, const struct options *options,
                       const struct guest_start *start)
{
    const struct walk_limits limits = {.physical_bits = (uint8_t)vmx.maxphyaddr,
                                       .page_1g = cpuid(0x80000001, 0).edx & BIT(26)};
    vcpu->vm = vm;
    vcpu->sched.pinned = vm->words.pin != PIN_NONE;
    vcpu->sched.pin = (unsigned)vm->words.pin;
    vcpu->inject_at = vcpu->pit_at = vcpu->delayed_until = vcpu->frames_at = TIME_NEVER;
    vcpu->budget_left = vm->words.budget * tsc_khz();
    if (options->vpid)
        vcpu->vpid = tlb_vpid_alloc(&vm->mmu);
    int error = vmx_vcpu_init(&vcpu->vmx, mmu_eptp(&vm->mmu), vcpu->vpid);
    if (!error)
        error = ve_setup(vcpu, options);
    if (!error)
        error = extra_state_init(&vcpu->extra);
    if (!error)
        error = pml_setup(vcpu);
    if (!error)
        error = interrupts_setup(vcpu);
    if (error)
        return error;
    mmio_vcpu_init(&vcpu->mmio, &vcpu->vmx.regs, &vm->mmu, &vm->mmio_bus, &limits,
                   (enum gva_cache)vm->words.gva_cache);
    msr_setup(vcpu);
    control_registers_setup(vcpu);
    boot_state_set(vcpu, start);
    cpuid_update(vcpu);
    error = td_vcpu_create(vcpu, options->ve == VE_AUTO);
    return error ? error : provoke_entry(options);
}

/* ---- The VM ---------------------------------------------------------------------------------- */

/* Reserves all host memory that the guest can make the hypervisor allocate (D20). If less than that
 * is free, returns EXIT_NO_MEMORY, and sets vm->put_off or, with `last_chance`, logs an error. */
static enum exit_code vm_promise_memory(struct vm *vm, uint64_t disk_pages, bool last_chance)
{
    const struct vm_words *w = &vm->words;
    bool unlimited = w->limit == LIMIT_NONE;
    const struct vm_size size = {.ram = w->memory,
                                 .limit = unlimited ? 0 : w->limit,
                                 .disks = disk_pages,
                                 .net = w->net ? devices_net_pages() : 0,
                                 .kut = w->kut ? kut_pages() : 0,
                                 .vcpus = (unsigned)w->vcpus,
                                 .pcpus = pcpus_count(),
                                 .vcpu_size = sizeof(struct vcpu),
                                 .sides = w->shared,
                                 .td = w->tdx ? td_pages(w->memory, (unsigned)w->vcpus) : 0,
                                 .ve = w->ve && !w->tdx,
                                 .traced = w->testctl || trace_wants(~0u)};
    struct vm_needs needs;
    vm_needs(&needs, &size);
    if (memory_open(vm->number, vm_needs_sum(&needs), w->testctl && unlimited))
        return EXIT_OK;
    vm->put_off = !last_chance;
    if (!last_chance)
        return EXIT_NO_MEMORY;
    log_error("guest %s: it may need up to %lu KiB of the host's memory (%lu of RAM, %lu of EPT "
              "tables, %lu for disks, %lu of other records, %lu by limit=), but only %lu KiB are "
              "free",
              vm->name, vm_needs_sum(&needs) << 2, (needs.ram + needs.td) << 2, needs.tables << 2,
              needs.disks << 2,
              (needs.slots + needs.vcpus + needs.report + needs.net + needs.kut) << 2,
              needs.limit << 2, memory_unpromised() << 2);
    log_error("guest %s: make mem= smaller, write disk=ro, or give the machine more memory",
              vm->name);
    return EXIT_NO_MEMORY;
}

static unsigned create_order(size_t size)
{
    unsigned order = 0;
    while (PAGE_SIZE << order < size)
        order++;
    return order;
}

/* Creates the VM's next vCPU, and leaves no VMCS current. vCPU 0 is active from the beginning, and
 * the others wait for a start-up IPI; of a TD, all vCPUs are active. */
static int create_vcpu(struct vm *vm, const struct options *options,
                       const struct guest_start *start)
{
    unsigned order = create_order(sizeof(struct vcpu));
    struct vcpu *vcpu = &vm->vcpu;
    if (vm->vcpu_count) {
        hpa_t pages = page_alloc(order);
        if (page_is_none(pages)) {
            log_error("guest %s: no host memory for its vCPU %u", vm->name, vm->vcpu_count);
            return -ENOMEM;
        }
        vcpu = phys_to_virt(pages);
        page_clear(vcpu, order);
    }
    if (!vm->vcpu_count || start->td) {
        vm->active++;
        vcpu->mailbox.startup = STARTUP_ACTIVE;
    }
    vcpu->index = (uint8_t)vm->vcpu_count;
    vm->vcpus[vm->vcpu_count++] = vcpu;
    int error = vcpu_create(vcpu, vm, options, start);
    if (!error)
        vmx_unload(&vcpu->vmx);
    return error;
}

/* Parses the strings of the `count` modules that follow the guest's own into `files`, and sets
 * *disk_pages to the number of pages that the disks among them can need. */
static enum exit_code vm_take_files(const struct vm *vm, const struct boot_module *modules,
                                    unsigned count, struct guest_module *files,
                                    uint64_t *disk_pages)
{
    *disk_pages = 0;
    for (unsigned i = 0; i < count; i++) {
        struct guest_module *file = &files[i];
        if (module_words_parse(vm->name, modules[i].string, file))
            return EXIT_MODULE_WORDS;
        file->file = phys_to_virt(modules[i].base);
        file->size = modules[i].size;
        if (file->kind < GUEST_MODULE_DISK)
            continue;
        if (!vm->words.pc) {
            log_error("guest %s: its module %s is a disk, which needs a PC's interrupt controller; "
                      "add the word pc",
                      vm->name, file->string);
            return EXIT_MODULE_WORDS;
        }
        *disk_pages += devices_disk_pages(file->size, file->kind == GUEST_MODULE_DISK_READ_ONLY);
    }
    return EXIT_OK;
}

static enum exit_code vm_add_disks(struct vm *vm, const struct guest_module *files, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (files[i].kind < GUEST_MODULE_DISK)
            continue;
        int error = devices_add_disk(vm, files[i].file, files[i].size,
                                     files[i].kind == GUEST_MODULE_DISK_READ_ONLY);
        if (error)
            return error == -ENOMEM ? EXIT_NO_MEMORY : EXIT_MODULE_WORDS;
    }
    return EXIT_OK;
}

/* ---- Stages ---------------------------------------------------------------------------------- */

/* Each function executes one piece of its stage, and returns true if that was the stage's last
 * piece. If the VM cannot be created, *code says why. */

static bool make_words(struct vm_making *m, enum exit_code *code)
{
    struct vm *vm = m->vm;
    struct disk *disks[DISKS] = {NULL};
    if (m->again) /* the disks outlive the VM, as those of a PC outlive its reset */
        memcpy(disks, vm->disks, sizeof(disks));
    memset(vm, 0, sizeof(*vm));
    memcpy(vm->disks, disks, sizeof(disks));
    vm->number = (uint16_t)m->number;
    const char *line = module_name(m->module, vm->name);
    int arguments =
        vm_words_parse(vm->name, line, (enum gva_cache)m->options->gva_cache, &vm->words);
    if (arguments < 0) {
        *code = EXIT_MODULE_WORDS;
        return true;
    }
    const struct vm_limits limits = {.address_bits = vmx.maxphyaddr < EPT_GPA_BITS ? vmx.maxphyaddr
                                                                                   : EPT_GPA_BITS,
                                     .execute_only = spte_format.caps.exec_only,
                                     .pcpus = pcpus_running()};
    if (vm_words_check(vm->name, &vm->words, &limits))
        *code = EXIT_MODULE_WORDS;
    m->image = (struct guest_image){.name = vm->name,
                                    .file = phys_to_virt(m->module->base),
                                    .size = m->module->size,
                                    .arguments = line + arguments};
    vm_words_describe(&vm->words, &m->image);
    if (!*code && vm->words.reset && !vm->words.pc) {
        log_error("guest %s: reset=again: only a PC has a register by which a guest resets its VM; "
                  "add the word pc",
                  vm->name);
        *code = EXIT_MODULE_WORDS;
    }
    if (!*code && devices_check_words(vm))
        *code = EXIT_MODULE_WORDS;
    if (!*code)
        *code = vm_take_files(vm, m->module + 1, m->extra, m->files, &m->disk_pages);
    return true;
}

static bool make_mmu(struct vm_making *m, enum exit_code *code)
{
    struct vm *vm = m->vm;
    if (!m->again)
        *code = vm_promise_memory(vm, m->disk_pages, m->last_chance);
    if (*code)
        return true;
    memory_pay_from(vm->number);
    vm->nx_recovery = mmu_config()->nx_huge ? m->options->nx_recovery_ms : 0;
    vm->stat_period = m->options->stat;
    regular_begin(vm, rdtsc());
    int error = mmu_create(&vm->mmu);
    if (error) {
        log_error("guest %s: no host memory for its page tables (error %d)", vm->name, error);
        while (!devices_destroy_piece(vm))
            ;
        memory_close(vm->number);
        *code = EXIT_NO_MEMORY;
        return true;
    }
    m->exists = true;
    return true;
}

static bool make_cpuid(struct vm_making *m, enum exit_code *code)
{
    (void)code;
    cpuid_setup(m->vm);
    return true;
}

static bool make_addresses(struct vm_making *m, enum exit_code *code)
{
    if (vm_declare_addresses(m->vm))
        *code = EXIT_MODULE_WORDS;
    return true;
}

/* Makes the VM a TD, if it is to be one, and takes its private memory. */
static bool make_td(struct vm_making *m, enum exit_code *code)
{
    struct vm *vm = m->vm;
    int error = vm->words.tdx ? td_create(vm, vm->words.tdx == TDX_DEBUG) : 0;
    if (error && error != -EINPROGRESS)
        *code = EXIT_NO_MEMORY;
    return error != -EINPROGRESS;
}

static bool make_space(struct vm_making *m, enum exit_code *code)
{
    struct vm *vm = m->vm;
    if (vm_add_memory(vm) || devices_add(vm))
        *code = EXIT_NO_MEMORY;
    if (!*code)
        *code = vm_add_disks(vm, m->files, m->extra);
    if (!*code)
        *code = devices_add_virtio(vm);
    struct guest_image *image = &m->image;
    memcpy(image->ram, vm->ram, sizeof(image->ram));
    image->disks = vm->disk_count;
    for (unsigned i = 0; i < m->extra; i++)
        if (m->files[i].kind < GUEST_MODULE_DISK)
            image->modules[image->module_count++] = m->files[i];
    return true;
}

static bool load_ram_piece(struct vm *vm, const struct guest_image *image,
                           struct guest_loading *loading, enum exit_code *code)
{
    return plan_copy_piece(&vm->mmu, image, loading->plan, &loading->index, &loading->done, code);
}

#define TD_PAGES_AT_ONCE 8u

/* Adds the next pages of a TD's initial image: a few, or, since measuring takes long, a single one
 * that is measured. loading->done is the first frame that has not been added. */
static bool load_td_pages(struct vm *vm, const struct guest_image *image,
                          struct guest_loading *loading, enum exit_code *code)
{
    struct td_page page = {.gfn = GFN(loading->done)};
    for (unsigned i = 0; i < TD_PAGES_AT_ONCE && !(i && page.extend); i++) {
        if (!td_next_page(loading->plan, &page))
            return !td_finalise(vm);
        int error = td_add_page(vm, page.gfn, page.content, page.extend);
        if (error == -EINPROGRESS)
            return false;
        if (error) {
            log_error("guest %s: frame %#lx of its initial image cannot be added (error %d)",
                      image->name, page.gfn.v, error);
            *code = error == -ENOMEM ? EXIT_NO_MEMORY : EXIT_MODULE_BAD_KERNEL;
            return false;
        }
        loading->done = ++page.gfn.v;
    }
    return false;
}

static bool make_program(struct vm_making *m, enum exit_code *code)
{
    return load_guest_piece(m->vm->td ? load_td_pages : load_ram_piece, m->vm, &m->image,
                            &m->loading, &m->start, code);
}

static bool make_vcpus(struct vm_making *m, enum exit_code *code)
{
    struct vm *vm = m->vm;
    int error = create_vcpu(vm, m->options, &m->start);
    if (error)
        *code = error == -ENOMEM ? EXIT_NO_MEMORY : EXIT_BAD_COMMAND_LINE;
    if (vm->vcpu_count < vm->words.vcpus)
        return false;
    if (!*code)
        devices_start(vm);
    return true;
}

static bool (*const stages[])(struct vm_making *m, enum exit_code *code) = {
    make_words, make_mmu, make_cpuid, make_addresses, make_td, make_space, make_program, make_vcpus,
};

bool vm_make_piece(struct vm_making *m, enum exit_code *code)
{
    *code = EXIT_OK;
    if (m->exists)
        memory_pay_from(m->vm->number);
    m->stage += stages[m->stage](m, code);
    return *code || m->stage == ARRAY_SIZE(stages);
}

bool vm_destroy_piece(struct vm *vm)
{
    devices_stop(vm);
    devices_stop_virtio(vm);
    if (vm->vcpu_count) {
        struct vcpu *vcpu = vm->vcpus[--vm->vcpu_count];
        vcpu_destroy(vcpu);
        if (vcpu != &vm->vcpu)
            page_free(virt_to_phys(vcpu), create_order(sizeof(struct vcpu)));
        return false;
    }
    if (!devices_destroy_piece(vm) || !mmu_destroy_piece(&vm->mmu) || !td_destroy_piece(vm))
        return false;
    if (!vm->again)
        memory_close(vm->number);
    return true;
}
