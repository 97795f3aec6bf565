/* SPDX-License-Identifier: MIT */
/* See the header. */
#include "launch/devices.h"

#include "arch/x86/tsc.h"
#include "arch/x86/unprivileged.h"
#include "arch/x86/wall_clock.h"
#include "guest/abi.h"
#include "launch/kut.h"
#include "lib/bits.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/page.h"
#include "dev/lapic_mmio.h"
#include "vm/exits.h"
#include "vm/ipi.h"
#include "vm/legacy.h"
#include "vm/vm.h"

/* ---- Ports ----------------------------------------------------------------------------------- */

static void debug_exit_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                             uint64_t value)
{
    struct vm *vm = device;
    (void)vcpu, (void)offset, (void)size;
    if (vm_ending(vm) != VM_RUNNING)
        return;
    vm->exit_value = (uint8_t)value;
    vm_end(vm, VM_ENDED_EXIT, "wrote %lu to the debug-exit port", value);
}

static uint64_t debug_exit_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset,
                                unsigned size)
{
    (void)device, (void)vcpu, (void)offset, (void)size;
    return ~0ull;
}

static const struct bus_ops debug_exit_ops = {
    .name = "debug exit", .read = debug_exit_read, .write = debug_exit_write};

static void console_transmit(void *context, uint8_t byte)
{
    console_put(context, byte);
}

/* Turning the machine off or resetting it is an orderly end of the VM, like a write of 0 to the
 * debug-exit port. */
static void power_off(void *context, const char *how)
{
    struct vm *vm = context;
    (void)vm_end(vm, VM_ENDED_EXIT, "%s", how);
}

/* The VM does not start again if another vCPU has ended it before. */
static void power_reset(void *context, const char *how)
{
    struct vm *vm = context;
    if (vm_end(vm, VM_ENDED_EXIT, "%s", how))
        vm->again = vm->words.reset == RESET_AGAIN;
}

/* ---- Buses ----------------------------------------------------------------------------------- */

/* In a VM with a shared bit, device addresses have it set. */
static uint64_t shared_bit(const struct vm *vm)
{
    return vm->words.shared ? BIT(vm->words.shared) : 0;
}

/* The reset register lies between the bytes of PCI's address register, whose device passes accesses
 * on to it. */
static void pci_init(struct vm *vm)
{
    struct locked_device *reset = &vm->locked[LOCKED_RESET];
    locked_device_init(reset, &power_reset_ops, &vm->power);
    const struct pci_wiring wiring = {
        .bus = &vm->mmio_bus,
        .shared = shared_bit(vm),
        .window = GUEST_BARS,
        .size = GUEST_BARS_SIZE,
        .send = ipi_send_from_device,
        .context = vm,
        .line = {ioapic_set_line, &vm->ioapic, LINE_PCI},
        .reset = &reset->ops,
        .reset_device = reset,
    };
    pci_host_init(&vm->pci, &wiring);
}

struct line device_line(struct vm *vm, unsigned number)
{
    return vm->words.legacy && number < PIC_IRQS
               ? (struct line){legacy_set_line, vm, number}
               : (struct line){ioapic_set_line, &vm->ioapic, number};
}

/* The serial port writes to the same console. */
static void vga_transmit(void *context, uint8_t byte)
{
    struct vm *vm = context;
    spin_lock(&vm->locked[LOCKED_UART].lock);
    console_put(&vm->console, byte);
    spin_unlock(&vm->locked[LOCKED_UART].lock);
}

static void devices_init_legacy(struct vm *vm)
{
    legacy_init(vm);
    vga_init(&vm->vga, vm->vga.text, vga_transmit, vm);
    i8042_init(&vm->i8042, power_reset, vm);
    vm->i8042.keyboard = device_line(vm, LINE_KEYBOARD);
    vm->i8042.mouse = device_line(vm, LINE_MOUSE);
}

static void devices_init(struct vm *vm)
{
    bus_init(&vm->mmio_bus, "mmio", ~0ull);
    bus_init(&vm->port_bus, "port", 0xffff);
    vm->mmio_bus.owner = vm->port_bus.owner = &vm->mmu;
    uart_init(&vm->uart, console_transmit, &vm->console);
    testdev_init(&vm->testdev[0], 'A');
    testdev_init(&vm->testdev[1], 'B');
    if (!vm->words.pc)
        return;
    ioapic_init(&vm->ioapic, ipi_send_from_device, vm);
    const struct line uart = device_line(vm, LINE_UART);
    uart_connect(&vm->uart, &uart, input_take, &vm->input);
    rtc_init(&vm->rtc, wall_clock_ms, vm->words.memory);
    vm->pm_timer = (struct pm_timer){.tsc = rdtsc, .tsc_hz = tsc_khz() * 1000};
    pit_init(&vm->pit, rdtsc, tsc_khz() * 1000);
    vm->power = (struct power){.off = power_off, .reset = power_reset, .context = vm};
    if (vm->words.legacy)
        devices_init_legacy(vm);
    if (vm->words.pci)
        pci_init(vm);
}

int device_add(struct vm *vm, const struct device *d)
{
    /* With several vCPUs, several pCPUs access the device; with `pc`, any pCPU may hand it
     * input. */
    struct locked_device *locked = vm->words.vcpus > 1 || vm->words.pc ? d->locked : NULL;
    uint64_t shared = d->bus == &vm->mmio_bus ? shared_bit(vm) : 0;
    if (locked)
        locked_device_init(locked, d->ops, d->device);
    return bus_add(d->bus, d->start | shared, d->size, locked ? &locked->ops : d->ops,
                   locked ? locked : d->device);
}

/* Allocates the text memory that is shown. Otherwise it is RAM (launch/create.c). */
static int vga_create(struct vm *vm)
{
    hpa_t pages = page_alloc(VGA_TEXT_ORDER);
    if (page_is_none(pages)) {
        log_error("guest %s: no host memory for its VGA adapter; %s", vm->name, page_shortage());
        return -ENOMEM;
    }
    vm->vga.text = phys_to_virt(pages);
    page_clear(vm->vga.text, VGA_TEXT_ORDER);
    return 0;
}

int devices_add(struct vm *vm)
{
    struct bus *ports = &vm->port_bus, *mmio = &vm->mmio_bus;
    const uint64_t *tests = &vm->words.testctl, *pc = &vm->words.pc, *pci = &vm->words.pci;
    const uint64_t *legacy = &vm->words.legacy, pc_alone = *pc && !*pci;
    struct locked_device *locked = vm->locked;
    const struct device devices[] = {
        {ports, PORT_UART, UART_PORTS, *pc ? &uart_connected_ops : &uart_ops, &vm->uart, NULL,
         &locked[LOCKED_UART]},
        {ports, PORT_DEBUG_EXIT, 1, &debug_exit_ops, vm, NULL, &locked[LOCKED_DEBUG_EXIT]},
        {ports, PORT_TEST, 4, &test_port_ops, &vm->tests.port, tests, &locked[LOCKED_TEST_PORT]},
        {ports, PORT_RTC, RTC_PORTS, &rtc_ops, &vm->rtc, pc, &locked[LOCKED_RTC]},
        {ports, PORT_PIT, PIT_PORTS, &pit_ops, &vm->pit, pc, &locked[LOCKED_PIT]},
        {ports, PORT_PM_TIMER, PM_TIMER_PORTS, &pm_timer_ops, &vm->pm_timer, pc, NULL},
        {ports, PORT_SLEEP, POWER_SLEEP_PORTS, &power_sleep_ops, &vm->power, pc, NULL},
        {ports, PORT_RESET, 1, &power_reset_ops, &vm->power, &pc_alone, &locked[LOCKED_RESET]},
        {ports, PORT_PCI_ADDRESS, PCI_PORTS, &pci_address_ops, &vm->pci, pci, NULL},
        {ports, PORT_PCI_DATA, PCI_PORTS, &pci_data_ops, &vm->pci, pci, NULL},
        {mmio, GUEST_ECAM, PCI_ECAM_SIZE, &pci_ecam_ops, &vm->pci, pci, NULL},
        {ports, PORT_KEYBOARD, 1, *legacy ? &i8042_command_ops : &power_keyboard_ops,
         *legacy ? (void *)&vm->i8042 : &vm->power, pc, NULL},
        {ports, PORT_PIC, PIC_PORTS, &legacy_master_ops, vm, legacy, NULL},
        {ports, PORT_PIC_SLAVE, PIC_PORTS, &pic_slave_ops, &vm->pic, legacy, NULL},
        {ports, PORT_ELCR, PIC_PORTS, &pic_elcr_ops, &vm->pic, legacy, NULL},
        {ports, PORT_VGA, VGA_PORTS, &vga_port_ops, &vm->vga, legacy, &locked[LOCKED_VGA]},
        {mmio, VGA_TEXT, VGA_TEXT_SIZE, &vga_text_ops, &vm->vga, &vm->words.vga,
         &locked[LOCKED_VGA_TEXT]},
        {mmio, GUEST_LAPIC, LAPIC_PAGE_SIZE, &apic_window_ops, NULL, NULL, NULL},
        {mmio, GUEST_IOAPIC, IOAPIC_SIZE, *legacy ? &legacy_ioapic_ops : &ioapic_ops,
         *legacy ? (void *)vm : &vm->ioapic, pc, NULL},
        {mmio, TESTDEV_A_BASE, TESTDEV_SIZE, &testdev_ops, &vm->testdev[0], tests,
         &locked[LOCKED_TEST_A]},
        {mmio, TESTDEV_B_BASE, TESTDEV_SIZE, &testdev_ops, &vm->testdev[1], tests,
         &locked[LOCKED_TEST_B]},
    };

    if (vm->words.vga && vga_create(vm))
        return -ENOMEM;
    devices_init(vm);
    for (unsigned i = 0; i < ARRAY_SIZE(devices); i++) {
        if (devices[i].word && !*devices[i].word)
            continue;
        int error = device_add(vm, &devices[i]);
        if (error)
            return error;
    }
    /* The keyboard controller's data port lies between those of the PIT. */
    if (*legacy && bus_add_over(ports, 1, PORT_KEYBOARD_DATA, 1, &i8042_data_ops, &vm->i8042))
        return -EEXIST;
    if (vm->words.kut) {
        int error = kut_add(vm);
        if (error)
            return error;
    }
    return *pci && *tests ? pci_test_add(vm->pci_test, &vm->pci) : 0;
}

/* ---- Input ----------------------------------------------------------------------------------- */

static void input_came(void *context)
{
    struct vm *vm = context;
    if (vm->words.console == CONSOLE_VIRTIO) {
        hvc_input_came(vm);
        return;
    }
    spin_lock(&vm->locked[LOCKED_UART].lock);
    uart_receive(&vm->uart);
    spin_unlock(&vm->locked[LOCKED_UART].lock);
}

/* The console learns the size that the window has already. */
void devices_start(struct vm *vm)
{
    if (vm->words.pc)
        input_attach(&vm->input, vm->number, vm->name, input_came, vm);
    if (vm->words.console == CONSOLE_VIRTIO)
        hvc_input_came(vm);
}

void devices_stop(struct vm *vm)
{
    input_detach(&vm->input);
    kut_remove(vm);
    if (vm->vga.text)
        page_free(virt_to_phys(vm->vga.text), VGA_TEXT_ORDER);
    vm->vga.text = NULL;
}
