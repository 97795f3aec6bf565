/* SPDX-License-Identifier: MIT */
/* The devices of a VM, and their addresses on its buses. launch/virtio_devices.h adds the virtio
 * devices. */
#pragma once

#include "dev/line.h"
#include "lib/compiler.h"

#include <stdint.h>

struct bus;
struct bus_ops;
struct locked_device;
struct vm;

/* Initialises the buses of a VM that is being created, and adds the devices that its words select.
 * Returns 0 or an error of bus_add(). */
int devices_add(struct vm *vm) MUST_CHECK;

/* A device and its range of addresses on one of the VM's buses. */
struct device {
    struct bus *bus;
    uint64_t start, size;
    const struct bus_ops *ops;
    void *device;
    const uint64_t *word;         /* the VM has the device if *word is not 0; NULL: always */
    struct locked_device *locked; /* serialises accesses of several CPUs; NULL: not needed */
};

/* Adds one device, whatever its word. Returns 0 or an error of bus_add(). */
int device_add(struct vm *vm, const struct device *device) MUST_CHECK;

/* The interrupt line of a device. Those of a PC's IRQs lead to the 8259s as well, if there are any.
 */
struct line device_line(struct vm *vm, unsigned number);

/* Connect the devices of a VM to the input of the hypervisor's serial port, and disconnect them
 * from it. devices_stop() does nothing if they are not connected. */
void devices_start(struct vm *vm);
void devices_stop(struct vm *vm);
