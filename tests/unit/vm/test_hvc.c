/* SPDX-License-Identifier: MIT */
/*
 * How a VM has its console and its entropy device (vm/hvc.c, vm/rng.c, vm/virtio_unit.c): what is
 * typed wakes a vCPU, which takes it from the VM's ring; what is sent goes where the UART's output
 * goes; a new size of the window is an interrupt; and random bytes differ.
 */
#include "tests/unit/support.h"

#include "arch/x86/power.h"
#include "arch/x86/serial.h"
#include "lib/bits.h"
#include "vm/dma.h"
#include "vm/ipi.h"
#include "vm/pcpu.h"
#include "vm/transcript.h"
#include "vm/vm.h"

#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <string.h>

#define RAM_SIZE 0x8000u
#define BUFFERS  0x4000u
#define RECEIVE  0u
#define TRANSMIT 1u

static struct vm vm;
static uint8_t memory[RAM_SIZE];
static const char *typed;
static unsigned woken;
static bool level;

int serial_read(void)
{
    return *typed ? (uint8_t)*typed++ : -1;
}

NORETURN void machine_exit(enum exit_code code)
{
    fail_msg("the machine ends with %d", code);
    __builtin_unreachable();
}

struct transcript *transcript_running(const char **name)
{
    *name = NULL;
    return NULL;
}

void transcript_notify(void)
{
}

void ipi_send_frames(void *context)
{
    assert_ptr_equal(context, &vm);
    woken++;
}

void pcpu_has_chores(void)
{
}

static int from_guest(void *context, uint64_t address, void *buffer, size_t size)
{
    assert_ptr_equal(context, &vm);
    return address < RAM_SIZE && size <= RAM_SIZE - address
               ? (memcpy(buffer, memory + address, size), 0)
               : -1;
}

static int to_guest(void *context, uint64_t address, const void *buffer, size_t size)
{
    assert_ptr_equal(context, &vm);
    return address < RAM_SIZE && size <= RAM_SIZE - address
               ? (memcpy(memory + address, buffer, size), 0)
               : -1;
}

struct dma vm_dma(struct vm *of)
{
    return (struct dma){from_guest, to_guest, of};
}

static void set_line(void *context, unsigned number, bool on)
{
    (void)context, (void)number;
    level = on;
}

/* ---- The driver ------------------------------------------------------------------------------ */

static uint32_t reg(struct virtio_unit *unit, uint64_t offset)
{
    return (uint32_t)virtio_mmio_ops.read(&unit->mmio, NULL, offset, 4);
}

static void set_reg(struct virtio_unit *unit, uint64_t offset, uint32_t value)
{
    virtio_mmio_ops.write(&unit->mmio, NULL, offset, 4, value);
}

/* Starts a queue with a chain of `size` bytes at BUFFERS. */
static void start(struct virtio_unit *unit, uint32_t queue, uint32_t size, uint16_t flags)
{
    memset(memory, 0, BUFFERS);
    *(struct vring_desc *)memory = (struct vring_desc){BUFFERS, size, flags, 0};
    ((struct vring_avail *)(memory + 0x1000))->idx = 1;
    set_reg(unit, VIRTIO_MMIO_STATUS, 3);
    set_reg(unit, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
    set_reg(unit, VIRTIO_MMIO_DRIVER_FEATURES, 3);
    set_reg(unit, VIRTIO_MMIO_STATUS, 0xb);
    set_reg(unit, VIRTIO_MMIO_QUEUE_SEL, queue);
    set_reg(unit, VIRTIO_MMIO_QUEUE_NUM, 8);
    set_reg(unit, VIRTIO_MMIO_QUEUE_AVAIL_LOW, 0x1000);
    set_reg(unit, VIRTIO_MMIO_QUEUE_USED_LOW, 0x2000);
    set_reg(unit, VIRTIO_MMIO_QUEUE_READY, 1);
    set_reg(unit, VIRTIO_MMIO_STATUS, 0xf);
    set_reg(unit, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
}

static const struct vring_used *used(void)
{
    return (const struct vring_used *)(memory + 0x2000);
}

static void input_came(void *context)
{
    hvc_input_came(context);
}

static int setup(void **state)
{
    (void)state;
    support_reset();
    memset(&vm, 0, sizeof(vm));
    memset(memory, 0, sizeof(memory));
    typed = "";
    woken = 0;
    level = false;
    hvc_connect(&vm.hvc, &vm);
    vm.hvc.device.virtio.line = (struct line){set_line, NULL, 0};
    virtio_console_init(&vm.hvc.device);
    rng_connect(&vm.rng, &vm);
    virtio_rng_init(&vm.rng.device);
    vm.units[vm.unit_count++] = &vm.hvc.unit;
    vm.units[vm.unit_count++] = &vm.rng.unit;
    vm.vcpu.vm = &vm;
    input_set_escape(1);
    input_attach(&vm.input, 1, "vm", input_came, &vm);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    input_detach(&vm.input);
    return vm.hvc.unit.locked.lock.taken || vm.locked[LOCKED_UART].lock.taken;
}

static void type(const char *text)
{
    typed = text;
    do
        input_poll(input_due, 1);
    while (*typed);
}

static void what_is_typed(void **state)
{
    (void)state;
    type("ab"); /* the driver has not started */
    assert_int_equal(woken, 0);
    start(&vm.hvc.unit, RECEIVE, 16, VRING_DESC_F_WRITE);
    assert_true(woken);
    woken = 0;
    type("c");
    assert_int_equal(woken, 1);
    assert_int_equal(used()->idx, 0); /* nothing before one of the vCPUs receives */
    units_receive(&vm.vcpu);
    assert_true(vm.vcpu.frames_at == TIME_NEVER);
    assert_int_equal(used()->idx, 1);
    assert_int_equal(used()->ring[0].len, 3);
    assert_memory_equal(memory + BUFFERS, "abc", 3);
    assert_true(level);
}

static void what_is_sent(void **state)
{
    (void)state;
    vm.console.transcript = transcript_open(1);
    memcpy(memory + BUFFERS, "by hvc0\n", 8);
    start(&vm.hvc.unit, TRANSMIT, 8, 0);
    while (units_go_on(&vm))
        ;
    while (transcript_print())
        ;
    assert_non_null(strstr(support_log(), "    by hvc0\n"));
}

static void the_window(void **state)
{
    (void)state;
    start(&vm.hvc.unit, RECEIVE, 16, VRING_DESC_F_WRITE);
    type("\x01w132x45\r");
    assert_int_equal(reg(&vm.hvc.unit, VIRTIO_MMIO_CONFIG), 45 << 16 | 132);
    assert_int_equal(reg(&vm.hvc.unit, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
    assert_true(level);
    assert_int_equal(woken, 0);
    assert_int_equal(used()->idx, 0);
}

static void random_bytes(void **state)
{
    (void)state;
    uint8_t before[96];
    for (unsigned i = 0; i < 4; i++) {
        memcpy(before, memory + BUFFERS, sizeof(before));
        set_reg(&vm.rng.unit, VIRTIO_MMIO_STATUS, 0);
        start(&vm.rng.unit, 0, 96, VRING_DESC_F_WRITE);
        assert_int_equal(used()->ring[0].len, 96);
        assert_memory_not_equal(before, memory + BUFFERS, 48);
        assert_memory_not_equal(before + 48, memory + BUFFERS + 48, 48);
        assert_memory_not_equal(memory + BUFFERS, memory + BUFFERS + 48, 48);
    }
    /* Without a generator the log says so, once. */
    unsigned times = 0;
    for (const char *at = support_log(); (at = strstr(at, "can be guessed")); at++)
        times++;
    assert_int_equal(times, vm.rng.weak);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_typed, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_sent, setup, teardown),
        cmocka_unit_test_setup_teardown(the_window, setup, teardown),
        cmocka_unit_test_setup_teardown(random_bytes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
