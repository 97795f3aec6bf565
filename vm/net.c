/* SPDX-License-Identifier: MIT */
#include "vm/net.h"

#include "arch/x86/unprivileged.h"
#include "lib/string.h"
#include "vm/dma.h"
#include "vm/ipi.h"
#include "vm/pcpu.h"
#include "vm/vm.h"

#define REST 4 /* time without receiving after a piece, in units of the piece's time */

static struct net_switch net_switch;

/* A locally administered unicast address, which differs between the VMs of a machine. */
static void set_mac(uint8_t mac[MAC_SIZE], unsigned number)
{
    const uint8_t address[MAC_SIZE] = {0x02,           'E', 'P', 'T', (uint8_t)(number >> 8),
                                       (uint8_t)number};
    memcpy(mac, address, MAC_SIZE);
}

void net_connect(struct net *net, struct vm *vm)
{
    struct virtio_net *device = &net->device;
    device->virtio.dma = vm_dma(vm);
    device->virtio.busy = pcpu_has_chores;
    device->port.owner = &net_switch;
    device->port.wake = ipi_send_frames;
    device->port.context = vm;
    set_mac(device->port.mac, vm->number);
    net->mmio.virtio = &device->virtio;
}

void net_receive(struct vcpu *vcpu)
{
    struct net *net = vcpu->vm->net;
    uint64_t start = rdtsc();
    spin_lock(&net->locked.lock);
    bool more = virtio_net_receive(&net->device);
    spin_unlock(&net->locked.lock);
    uint64_t end = rdtsc();
    vcpu->frames_from = end + REST * (end - start);
    vcpu->frames_at = more ? vcpu->frames_from : TIME_NEVER;
}
