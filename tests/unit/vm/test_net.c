/* SPDX-License-Identifier: MIT */
/*
 * How a VM has its network device (vm/net.c, vm/virtio_unit.c, vm/dma.c): its address, whose
 * memory is accessed, and the pace at which a vCPU receives: at most for a fifth of its time.
 */
#include "tests/unit/support.h"

#include "arch/x86/unprivileged.h"
#include "lib/errno.h"

static uint64_t clock_now;
#define rdtsc() (clock_now)

#include "vm/virtio_unit.c"
#include "vm/dma.c"
#include "vm/net.c"

#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <string.h>

#define VMS      2u
#define RAM_SIZE 0x20000u
#define RECEIVE  0u
#define TRANSMIT 1u
#define PARTS(q) (0x1000u + (q)*0x4000u)
#define BUFFERS  0x10000u
#define FRAME    1000u
#define TICKS    100u /* time of each access to guest memory */
#define CHAINS   40u

static struct vm vms[VMS];
static struct net nets[VMS];
static uint8_t memory[VMS][RAM_SIZE];
static unsigned woken, chores, reads[VMS], writes[VMS];

void ipi_send_frames(void *context)
{
    assert_ptr_equal(context, &vms[1]);
    woken++;
}

void pcpu_has_chores(void)
{
    chores++;
}

static uint8_t *place(const struct mmu *mmu, gpa_t gpa, size_t size, unsigned counts[VMS])
{
    unsigned n = mmu == &vms[1].mmu;
    uint64_t shared = vms[n].words.shared ? BIT(vms[n].words.shared) : 0;
    assert_ptr_equal(mmu, &vms[n].mmu);
    counts[n]++;
    clock_now += TICKS;
    assert_int_equal(gpa.v & shared, shared);
    gpa.v &= ~shared;
    return gpa.v < RAM_SIZE && size <= RAM_SIZE - gpa.v ? memory[n] + gpa.v : NULL;
}

int guest_read(struct mmu *mmu, gpa_t gpa, void *buffer, size_t size, enum mmu_access access)
{
    const uint8_t *from = place(mmu, gpa, size, reads);
    assert_int_equal(access, ACCESS_READ);
    return from ? (memcpy(buffer, from, size), 0) : -EFAULT;
}

int guest_write(struct mmu *mmu, gpa_t gpa, const void *buffer, size_t size)
{
    uint8_t *to = place(mmu, gpa, size, writes);
    return to ? (memcpy(to, buffer, size), 0) : -EFAULT;
}

/* ---- Two VMs --------------------------------------------------------------------------------- */

static void set_reg(unsigned n, uint64_t offset, uint32_t value)
{
    virtio_mmio_ops.write(&nets[n].unit.mmio, NULL, offset, 4, value);
}

/* Starts a queue with CHAINS chains of one segment each, which the device reads or writes. */
static void start_queue(unsigned n, unsigned queue, unsigned flags)
{
    uint8_t *parts = memory[n] + PARTS(queue);
    struct vring_desc *descriptors = (void *)parts;
    struct vring_avail *available = (void *)(parts + 0x1000);
    for (unsigned i = 0; i < CHAINS; i++) {
        descriptors[i] = (struct vring_desc){BUFFERS, 12 + FRAME, (uint16_t)flags, 0};
        available->ring[i] = (uint16_t)i;
    }
    available->idx = CHAINS;
    set_reg(n, VIRTIO_MMIO_QUEUE_SEL, queue);
    set_reg(n, VIRTIO_MMIO_QUEUE_NUM, 64);
    set_reg(n, VIRTIO_MMIO_QUEUE_DESC_LOW, PARTS(queue));
    set_reg(n, VIRTIO_MMIO_QUEUE_AVAIL_LOW, PARTS(queue) + 0x1000);
    set_reg(n, VIRTIO_MMIO_QUEUE_USED_LOW, PARTS(queue) + 0x2000);
    set_reg(n, VIRTIO_MMIO_QUEUE_READY, 1);
}

static uint16_t used(unsigned n, unsigned queue)
{
    return ((const struct vring_used *)(memory[n] + PARTS(queue) + 0x2000))->idx;
}

/* VM 0 sends frames to VM 1, whose devices can access shared memory only. */
static int setup(void **state)
{
    (void)state;
    support_reset();
    memset(vms, 0, sizeof(vms));
    memset(nets, 0, sizeof(nets));
    memset(memory, 0, sizeof(memory));
    woken = chores = 0;
    vms[1].words.shared = 40;
    for (unsigned n = 0; n < VMS; n++) {
        vms[n].number = (uint16_t)(n ? 0x1234 : 1);
        vms[n].net = &nets[n];
        net_connect(&nets[n], &vms[n]);
        vms[n].units[vms[n].unit_count++] = &nets[n].unit;
        assert_int_equal(virtio_net_init(&nets[n].device), 0);
        set_reg(n, VIRTIO_MMIO_STATUS, 3);
        set_reg(n, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
        set_reg(n, VIRTIO_MMIO_DRIVER_FEATURES, 3);
        set_reg(n, VIRTIO_MMIO_STATUS, 0xb);
        start_queue(n, n == 0, n ? VRING_DESC_F_WRITE : 0);
        set_reg(n, VIRTIO_MMIO_STATUS, 0xf);
        memset(reads, 0, sizeof(reads));
        memset(writes, 0, sizeof(writes));
    }
    memset(memory[0] + BUFFERS + 12, 0xff, MAC_SIZE); /* a broadcast */
    memset(memory[0] + BUFFERS + 18, 0x5a, FRAME - MAC_SIZE);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (unsigned n = 0; n < VMS; n++)
        virtio_net_destroy(&nets[n].device);
    return nets[0].unit.locked.lock.taken || nets[1].unit.locked.lock.taken;
}

static void addresses(void **state)
{
    (void)state;
    assert_memory_equal(nets[0].device.config.mac,
                        "\x02"
                        "EPT\x00\x01",
                        MAC_SIZE);
    assert_memory_equal(nets[1].device.config.mac,
                        "\x02"
                        "EPT\x12\x34",
                        MAC_SIZE);
}

/* Each VM's memory is accessed only by the call that is made for it. */
static void whose_memory(void **state)
{
    (void)state;
    set_reg(0, VIRTIO_MMIO_QUEUE_NOTIFY, TRANSMIT);
    assert_int_equal(chores, 1);
    assert_int_equal(used(0, TRANSMIT), 2);
    while (units_go_on(&vms[0]))
        ;
    assert_int_equal(used(0, TRANSMIT), CHAINS);
    assert_int_equal(woken, 1);
    assert_true(reads[0] && writes[0] && !reads[1] && !writes[1]);
    unsigned accesses = reads[0] + writes[0];
    struct vcpu *vcpu = &vms[1].vcpu;
    vcpu->vm = &vms[1];
    units_receive(vcpu);
    assert_int_equal(reads[0] + writes[0], accesses);
    assert_int_equal(used(1, RECEIVE), 3);
    assert_memory_equal(memory[1] + BUFFERS + 12, memory[0] + BUFFERS + 12, FRAME);
    assert_false(units_go_on(&vms[1]));
    vms[1].unit_count = 0;
    assert_false(units_go_on(&vms[1]));
}

static void the_pace(void **state)
{
    (void)state;
    struct vcpu *vcpu = &vms[1].vcpu;
    vcpu->vm = &vms[1];
    set_reg(0, VIRTIO_MMIO_QUEUE_NOTIFY, TRANSMIT);
    while (units_go_on(&vms[0]))
        ;
    uint64_t begin = clock_now, busy = 0;
    unsigned pieces = 0;
    do {
        uint64_t start = clock_now;
        units_receive(vcpu);
        assert_true(clock_now > start && clock_now - start < 100 * TICKS);
        busy += clock_now - start;
        assert_true(vcpu->frames_from == clock_now + 4 * (clock_now - start));
        assert_true(vcpu->frames_at == TIME_NEVER || vcpu->frames_at == vcpu->frames_from);
        clock_now = vcpu->frames_from;
        pieces++;
    } while (vcpu->frames_at != TIME_NEVER);
    assert_int_equal(pieces, PORT_FRAMES / 3);
    assert_int_equal(used(1, RECEIVE), PORT_FRAMES);
    assert_int_equal(5 * busy, clock_now - begin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(addresses, setup, teardown),
        cmocka_unit_test_setup_teardown(whose_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(the_pace, setup, teardown),
    };
    return cmocka_run_group_tests_name("net", tests, NULL, NULL);
}
