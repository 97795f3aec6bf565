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
#include "lib/string.h"
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

struct device {
    struct bus *bus;
    uint64_t start, size;
    const struct bus_ops *ops;
    void *device;
    const uint64_t *word;         /* the VM has the device if *word is not 0; NULL: always */
    struct locked_device *locked; /* serialises accesses of several CPUs; NULL: not needed */
};

/* The line of a device. Those of a PC's IRQs lead to the 8259s as well, if there are any. */
static struct line device_line(struct vm *vm, unsigned number)
{
    return vm->words.legacy && number < PIC_IRQS
               ? (struct line){legacy_set_line, vm, number}
               : (struct line){ioapic_set_line, &vm->ioapic, number};
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
    if (vm->words.legacy)
        legacy_init(vm);
    const struct line uart = device_line(vm, LINE_UART);
    uart_connect(&vm->uart, &uart, input_take, &vm->input);
    rtc_init(&vm->rtc, wall_clock_ms, vm->words.memory);
    vm->pm_timer = (struct pm_timer){.tsc = rdtsc, .tsc_hz = tsc_khz() * 1000};
    vm->pit = (struct pit){.tsc = rdtsc, .tsc_hz = tsc_khz() * 1000};
    vm->power = (struct power){.off = power_off, .reset = power_reset, .context = vm};
}

static int device_add(struct vm *vm, const struct device *d)
{
    /* With several vCPUs, several pCPUs access the device; with `pc`, any pCPU may hand it
     * input. */
    struct locked_device *locked = vm->words.vcpus > 1 || vm->words.pc ? d->locked : NULL;
    /* In a VM with a shared bit, device addresses have it set. */
    uint64_t shared = vm->words.shared && d->bus == &vm->mmio_bus ? BIT(vm->words.shared) : 0;
    if (locked)
        locked_device_init(locked, d->ops, d->device);
    return bus_add(d->bus, d->start | shared, d->size, locked ? &locked->ops : d->ops,
                   locked ? locked : d->device);
}

int devices_add(struct vm *vm)
{
    struct bus *ports = &vm->port_bus, *mmio = &vm->mmio_bus;
    const uint64_t *tests = &vm->words.testctl, *pc = &vm->words.pc, *legacy = &vm->words.legacy;
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
        {ports, PORT_RESET, 1, &power_reset_ops, &vm->power, pc, &locked[LOCKED_RESET]},
        {ports, PORT_KEYBOARD, 1, &power_keyboard_ops, &vm->power, pc, NULL},
        {ports, PORT_PIC, PIC_PORTS, &pic_master_ops, &vm->pic, legacy, NULL},
        {ports, PORT_PIC_SLAVE, PIC_PORTS, &pic_slave_ops, &vm->pic, legacy, NULL},
        {ports, PORT_ELCR, PIC_PORTS, &pic_elcr_ops, &vm->pic, legacy, NULL},
        {mmio, GUEST_LAPIC, LAPIC_PAGE_SIZE, &apic_window_ops, NULL, NULL, NULL},
        {mmio, GUEST_IOAPIC, IOAPIC_SIZE, &ioapic_ops, &vm->ioapic, pc, NULL},
        {mmio, TESTDEV_A_BASE, TESTDEV_SIZE, &testdev_ops, &vm->testdev[0], tests,
         &locked[LOCKED_TEST_A]},
        {mmio, TESTDEV_B_BASE, TESTDEV_SIZE, &testdev_ops, &vm->testdev[1], tests,
         &locked[LOCKED_TEST_B]},
    };

    devices_init(vm);
    for (unsigned i = 0; i < ARRAY_SIZE(devices); i++) {
        if (devices[i].word && !*devices[i].word)
            continue;
        int error = device_add(vm, &devices[i]);
        if (error)
            return error;
    }
    return vm->words.kut ? kut_add(vm) : 0;
}

/* ---- Disks ----------------------------------------------------------------------------------- */

#define DISK_ORDER 0 /* of the pages of a struct disk */
_Static_assert(sizeof(struct disk) <= PAGE_SIZE << DISK_ORDER, "a disk's page");

static int disk_create(struct vm *vm, struct disk *disk, const void *image, uint64_t size,
                       bool read_only)
{
    unsigned number = vm->disk_count;
    char serial[VIRTIO_BLK_ID_BYTES];
    snprintf(serial, sizeof(serial), "eptvisor-disk%u", number);
    disk_connect(disk, vm);
    disk->blk.virtio.line = device_line(vm, LINE_VIRTIO + number);
    int error = virtio_blk_init(&disk->blk, image, size, read_only, serial);
    if (error)
        return error;
    const struct device device = {.bus = &vm->mmio_bus,
                                  .start = GUEST_VIRTIO + number * PAGE_SIZE,
                                  .size = VIRTIO_MMIO_SIZE,
                                  .ops = &virtio_mmio_ops,
                                  .device = &disk->mmio,
                                  .locked = &disk->locked};
    vm->disk_count++;
    return device_add(vm, &device);
}

int devices_add_disk(struct vm *vm, const void *image, uint64_t size, bool read_only)
{
    if (vm->disk_count == DISKS) {
        log_error("guest %s: more than %u disks", vm->name, DISKS);
        return -ENOSPC;
    }
    if (size < 512) {
        log_error("guest %s: a disk of %lu bytes; it must have a sector of 512", vm->name, size);
        return -EINVAL;
    }
    struct disk **disk = &vm->disks[vm->disk_count];
    if (!*disk) {
        hpa_t page = page_alloc(DISK_ORDER);
        if (page_is_none(page)) {
            log_error("guest %s: no host memory for a disk; %s", vm->name, page_shortage());
            return -ENOMEM;
        }
        *disk = phys_to_virt(page);
        (*disk)->blk.tables = NULL;
    }
    uint8_t ***tables = (*disk)->blk.tables;
    page_clear(*disk, DISK_ORDER);
    (*disk)->blk.tables = tables;
    return disk_create(vm, *disk, image, size, read_only);
}

uint64_t devices_disk_pages(uint64_t size, bool read_only)
{
    return virtio_blk_pages(size, read_only) + BIT(DISK_ORDER);
}

/* ---- The network device ---------------------------------------------------------------------- */

#define NET_ORDER 4 /* of the pages of a struct net */
_Static_assert(sizeof(struct net) <= PAGE_SIZE << NET_ORDER, "a network device's pages");
_Static_assert(GUEST_VIRTIO + DISKS * PAGE_SIZE <= GUEST_VIRTIO_NET, "its registers");

uint64_t devices_net_pages(void)
{
    return BIT(NET_ORDER);
}

enum exit_code devices_add_net(struct vm *vm)
{
    hpa_t pages = page_alloc(NET_ORDER);
    if (page_is_none(pages)) {
        log_error("guest %s: no host memory for its network device; %s", vm->name, page_shortage());
        return EXIT_NO_MEMORY;
    }
    struct net *net = phys_to_virt(pages);
    page_clear(net, NET_ORDER);
    net_connect(net, vm);
    net->device.virtio.line = device_line(vm, LINE_NET);
    if (virtio_net_init(&net->device)) {
        page_free(pages, NET_ORDER);
        return EXIT_MODULE_WORDS;
    }
    vm->net = net;
    const struct device device = {.bus = &vm->mmio_bus,
                                  .start = GUEST_VIRTIO_NET,
                                  .size = VIRTIO_MMIO_SIZE,
                                  .ops = &virtio_mmio_ops,
                                  .device = &net->mmio,
                                  .locked = &net->locked};
    return device_add(vm, &device) ? EXIT_NO_MEMORY : EXIT_OK;
}

bool devices_destroy_piece(struct vm *vm)
{
    vm->disk_count = 0;
    for (unsigned i = 0; i < DISKS && !vm->again; i++) {
        struct disk **disk = &vm->disks[i];
        if (!*disk)
            continue;
        if (virtio_blk_destroy_piece(&(*disk)->blk)) {
            page_free(virt_to_phys(*disk), DISK_ORDER);
            *disk = NULL;
        }
        return false;
    }
    return true;
}

/* ---- Input ----------------------------------------------------------------------------------- */

static void input_came(void *context)
{
    struct vm *vm = context;
    spin_lock(&vm->locked[LOCKED_UART].lock);
    uart_receive(&vm->uart);
    spin_unlock(&vm->locked[LOCKED_UART].lock);
}

void devices_start(struct vm *vm)
{
    if (vm->words.pc)
        input_attach(&vm->input, vm->number, vm->name, input_came, vm);
}

void devices_stop(struct vm *vm)
{
    input_detach(&vm->input);
    kut_remove(vm);
    if (!vm->net)
        return;
    virtio_net_destroy(&vm->net->device);
    page_free(virt_to_phys(vm->net), NET_ORDER);
    vm->net = NULL;
}
