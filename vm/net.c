/* SPDX-License-Identifier: MIT */
#include "vm/net.h"

#include "lib/string.h"
#include "vm/ipi.h"
#include "vm/vm.h"

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
    unit_connect(&net->unit, vm, &device->virtio);
    device->port.owner = &net_switch;
    device->port.wake = ipi_send_frames;
    device->port.context = vm;
    set_mac(device->port.mac, vm->number);
}
