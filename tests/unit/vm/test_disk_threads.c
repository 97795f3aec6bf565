/* SPDX-License-Identifier: MIT */
/*
 * A VM's disk on several CPUs at once, with vm/virtio_unit.c, the transport and an I/O APIC: two
 * threads are vCPUs that notify the same queue, one does the work that is left, one resets the
 * device and starts it again, and one handles interrupts at the I/O APIC. All of them write the
 * rings, without any order, as the CPUs of a guest can. Built with AddressSanitizer for `make
 * unit` and with ThreadSanitizer for `make tsan`.
 *
 * Nothing is accessed without its lock. Afterwards the line is what the device says, a reset
 * device works, and all memory is freed.
 */
#include "tests/unit/support.h"

#define guest_read  disk_guest_read
#define guest_write disk_guest_write

#include "vm/virtio_unit.c"
#include "vm/dma.c"

#undef guest_read
#undef guest_write

#include "lib/bits.h"

#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <string.h>

#define RAM_BASE 0x10000u
#define RAM_SIZE 0x20000u
#define QUEUE    8u
#define STEPS    2000u

enum { DESCRIPTORS = 0, AVAILABLE = 0x1000, USED = 0x2000, HEADER = 0x3000, DATA = 0x4000 };

static struct vm vm;
static struct disk disk;
static uint8_t image[64 * 4096];
static uint64_t ram[RAM_SIZE / 8]; /* accessed by 32-bit words */
static bool stop;
static unsigned sent, busy;

/* ---- What the disk uses ---------------------------------------------------------------------- */

static uint32_t *word_at(uint64_t offset)
{
    return (uint32_t *)ram + offset / 4;
}

static bool in_ram(gpa_t gpa, size_t size)
{
    return gpa.v >= RAM_BASE && gpa.v - RAM_BASE + size <= RAM_SIZE;
}

/* Like the product's accessors, an aligned access is one load or store. A byte is taken from the
 * word that holds it. */
static void copy_out(uint64_t offset, uint8_t *to, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        uint32_t word = __atomic_load_n(word_at(offset + i), __ATOMIC_RELAXED);
        to[i] = (uint8_t)(word >> (offset + i) % 4 * 8);
    }
}

int disk_guest_read(struct mmu *mmu, gpa_t gpa, void *to, size_t size, enum mmu_access access)
{
    assert_ptr_equal(mmu, &vm.mmu);
    assert_int_equal(access, ACCESS_READ);
    if (!in_ram(gpa, size))
        return -1;
    copy_out(gpa.v - RAM_BASE, to, size);
    return 0;
}

int disk_guest_write(struct mmu *mmu, gpa_t gpa, const void *from, size_t size)
{
    const uint8_t *bytes = from;
    assert_ptr_equal(mmu, &vm.mmu);
    if (!in_ram(gpa, size))
        return -1;
    for (size_t i = 0; i < size; i++) {
        uint64_t at = gpa.v - RAM_BASE + i;
        __atomic_store_n((uint8_t *)ram + at, bytes[i], __ATOMIC_RELAXED);
    }
    return 0;
}

void pcpu_has_chores(void)
{
    __atomic_fetch_add(&busy, 1, __ATOMIC_RELAXED);
}

static bool send(void *context, const struct lapic_message *message, bool level)
{
    assert_ptr_equal(context, &vm);
    assert_int_equal(message->vector, 0x50);
    assert_true(level);
    __atomic_fetch_add(&sent, 1, __ATOMIC_RELAXED);
    return true;
}

/* ---- The driver ------------------------------------------------------------------------------ */

static uint64_t rnd(uint64_t *state, uint64_t below)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (*state >> 33) % below;
}

static void put(uint64_t offset, uint32_t value)
{
    __atomic_store_n(word_at(offset), value, __ATOMIC_RELAXED);
}

static void set_reg(uint64_t offset, uint32_t value)
{
    disk.unit.locked.ops.write(&disk.unit.locked, NULL, offset, 4, value);
}

static uint32_t reg(uint64_t offset)
{
    return (uint32_t)disk.unit.locked.ops.read(&disk.unit.locked, NULL, offset, 4);
}

static void start_device(void)
{
    set_reg(VIRTIO_MMIO_STATUS, 0);
    set_reg(VIRTIO_MMIO_STATUS, 3);
    for (uint32_t half = 0; half < 2; half++) {
        set_reg(VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
        set_reg(VIRTIO_MMIO_DRIVER_FEATURES, half ? 3 : 0);
    }
    set_reg(VIRTIO_MMIO_STATUS, 0xb);
    set_reg(VIRTIO_MMIO_QUEUE_SEL, 0);
    set_reg(VIRTIO_MMIO_QUEUE_NUM, QUEUE);
    set_reg(VIRTIO_MMIO_QUEUE_DESC_LOW, RAM_BASE + DESCRIPTORS);
    set_reg(VIRTIO_MMIO_QUEUE_AVAIL_LOW, RAM_BASE + AVAILABLE);
    set_reg(VIRTIO_MMIO_QUEUE_USED_LOW, RAM_BASE + USED);
    put(AVAILABLE, 0);
    put(USED, 0);
    set_reg(VIRTIO_MMIO_QUEUE_READY, 1);
    set_reg(VIRTIO_MMIO_STATUS, 0xf);
}

static void describe(unsigned number, uint64_t address, uint32_t length, uint32_t flags_and_next)
{
    uint64_t at = DESCRIPTORS + 16 * number;
    put(at, (uint32_t)address);
    put(at + 4, (uint32_t)(address >> 32));
    put(at + 8, length);
    put(at + 12, flags_and_next);
}

/* Makes a request, and as many chains of it available as the queue has room for. */
static void request(uint32_t type, uint32_t sector, uint32_t length)
{
    bool reads = type == VIRTIO_BLK_T_IN;
    put(HEADER, type);
    put(HEADER + 8, sector);
    put(HEADER + 12, 0);
    describe(0, RAM_BASE + HEADER, 16, 1u << 16 | VRING_DESC_F_NEXT);
    describe(1, RAM_BASE + DATA, length,
             2u << 16 | VRING_DESC_F_NEXT | (reads ? VRING_DESC_F_WRITE : 0));
    describe(2, RAM_BASE + HEADER + 64, 1, VRING_DESC_F_WRITE);
    uint32_t flags_and_index = __atomic_load_n(word_at(AVAILABLE), __ATOMIC_RELAXED);
    uint32_t used = __atomic_load_n(word_at(USED), __ATOMIC_RELAXED);
    put(AVAILABLE, (used & 0xffff0000) + (QUEUE << 16) + (flags_and_index & 1));
    set_reg(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
}

/* ---- Threads --------------------------------------------------------------------------------- */

/* Notifications have left work over, so the threads have met. How many steps that takes depends on
 * how the threads are scheduled. */
static bool have_met(void)
{
    return __atomic_load_n(&busy, __ATOMIC_RELAXED) > 10;
}

static void *notifier(void *number)
{
    uint64_t state = (uint64_t)(uintptr_t)number;
    for (unsigned i = 0; i < STEPS || (i < 1000 * STEPS && !have_met()); i++) {
        static const uint32_t types[] = {VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_DISCARD};
        uint32_t type = types[rnd(&state, 3)];
        request(type, (uint32_t)rnd(&state, 500), type == VIRTIO_BLK_T_DISCARD ? 16 : 4096);
        set_reg(VIRTIO_MMIO_INTERRUPT_ACK, reg(VIRTIO_MMIO_INTERRUPT_STATUS));
        if (reg(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET)
            start_device();
        if (!rnd(&state, 50))
            describe((unsigned)rnd(&state, 3), rnd(&state, RAM_BASE * 4), 16, 0);
    }
    return NULL;
}

static void *worker(void *unused)
{
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
        if (!units_go_on(&vm))
            cpu_relax();
    return unused;
}

static void *resetter(void *unused)
{
    for (unsigned i = 0; i < STEPS / 4; i++)
        start_device();
    return unused;
}

static void *interrupts(void *unused)
{
    uint64_t state = 7;
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        ioapic_eoi(&vm.ioapic, 0x50);
        ioapic_ops.write(&vm.ioapic, NULL, 0, 4, 0x10 + 2 * 16);
        ioapic_ops.write(&vm.ioapic, NULL, 0x10, 4, 0x8050 | (uint32_t)rnd(&state, 2) << 16);
        (void)ioapic_ops.read(&vm.ioapic, NULL, 0x10, 4);
    }
    return unused;
}

static void unmask(void)
{
    ioapic_ops.write(&vm.ioapic, NULL, 0, 4, 0x10 + 2 * 16);
    ioapic_ops.write(&vm.ioapic, NULL, 0x10, 4, 0x8050);
}

static void prepare(void)
{
    support_reset();
    memset(&vm, 0, sizeof(vm));
    memset(&disk, 0, sizeof(disk));
    memset(ram, 0, sizeof(ram));
    ioapic_init(&vm.ioapic, send, &vm);
    unmask();
    unit_connect(&disk.unit, &vm, &disk.blk.virtio);
    disk.blk.virtio.line = (struct line){ioapic_set_line, &vm.ioapic, 16};
    assert_int_equal(virtio_blk_init(&disk.blk, image, sizeof(image), false, "threads"), 0);
    locked_device_init(&disk.unit.locked, &virtio_mmio_ops, &disk.unit.mmio);
    vm.units[vm.unit_count++] = &disk.unit;
    start_device();
}

static void at_once(void **state)
{
    (void)state;
    void *(*const bodies[])(void *) = {notifier, notifier, resetter, worker, interrupts};
    pthread_t threads[ARRAY_SIZE(bodies)];
    prepare();
    for (uintptr_t i = 0; i < ARRAY_SIZE(bodies); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, bodies[i], (void *)(i + 1)), 0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    for (unsigned i = 3; i < ARRAY_SIZE(bodies); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_true(have_met());
    assert_int_equal(vm.ioapic.asserted >> 16 & 1, disk.blk.virtio.interrupts != 0);

    unmask();
    start_device();
    ioapic_eoi(&vm.ioapic, 0x50); /* the line is low: no message is in progress from now on */
    sent = 0;
    put(DATA, 0x12345678);
    put(HEADER + 64, 0xee);
    request(VIRTIO_BLK_T_OUT, 9, 512);
    while (units_go_on(&vm))
        ;
    assert_int_equal(*word_at(USED) >> 16, QUEUE);
    assert_int_equal(*word_at(HEADER + 64) & 0xff, VIRTIO_BLK_S_OK);
    assert_int_equal(sent, 1);
    put(DATA, 0);
    put(USED, (uint32_t)QUEUE << 16);
    request(VIRTIO_BLK_T_IN, 9, 512);
    while (units_go_on(&vm))
        ;
    assert_int_equal(*word_at(DATA), 0x12345678);
    assert_int_equal(reg(VIRTIO_MMIO_STATUS), 0xf);
    while (!virtio_blk_destroy_piece(&disk.blk))
        ;
    assert_int_equal(support_pages_in_use(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(at_once)};
    return cmocka_run_group_tests_name("a disk on several CPUs", tests, NULL, NULL);
}
