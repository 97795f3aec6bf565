/* SPDX-License-Identifier: MIT */
/* The devices of a VM, and their addresses on its buses. */
#pragma once

#include "lib/compiler.h"
#include "lib/exit_codes.h"

#include <stdbool.h>
#include <stdint.h>

struct vm;

/* Initialises the buses of a VM that is being created, and adds the devices that its words select.
 * Returns 0 or an error of bus_add(). */
int devices_add(struct vm *vm) MUST_CHECK;

/* Adds the next disk to a VM with `pc`. Called after devices_add(). The image is not copied, so it
 * must outlive the VM. `size` is in bytes. If the VM starts anew, the disk contains what was
 * written to it before. Returns 0, or a negative errno after a message. */
int devices_add_disk(struct vm *vm, const void *image, uint64_t size, bool read_only) MUST_CHECK;

/* Adds the network device to a VM with `pc`, and attaches it to the switch. Called after
 * devices_add(). Any result but EXIT_OK has been logged. */
enum exit_code devices_add_net(struct vm *vm) MUST_CHECK;

/* Returns the number of pages of host memory that a disk of `size` bytes can need. */
uint64_t devices_disk_pages(uint64_t size, bool read_only);

/* Returns the number of pages of host memory that a network device needs. */
uint64_t devices_net_pages(void);

/* Frees a part of what the devices have allocated, without the disks if the VM starts anew
 * (vm->again). Called when no vCPU of the VM is running. Returns true if nothing is left. */
bool devices_destroy_piece(struct vm *vm) MUST_CHECK;

/* Connect the devices of a VM to the input of the hypervisor's serial port, and disconnect them
 * from it and from the switch. devices_stop() does nothing for what is not connected. */
void devices_start(struct vm *vm);
void devices_stop(struct vm *vm);
