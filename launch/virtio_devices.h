/* SPDX-License-Identifier: MIT */
/* The virtio devices of a VM. All of them need the word `pc`. */
#pragma once

#include "lib/compiler.h"
#include "lib/exit_codes.h"

#include <stdbool.h>
#include <stdint.h>

struct vm;

/* Returns 0, or -EINVAL after a message that names a word that needs `pc`. */
int devices_check_words(const struct vm *vm) MUST_CHECK;

/* Adds the next disk. Called after devices_add(). The image is not copied, so it must outlive the
 * VM. `size` is in bytes. If the VM starts anew, the disk contains what was written to it before.
 * Returns 0, or a negative errno after a message. */
int devices_add_disk(struct vm *vm, const void *image, uint64_t size, bool read_only) MUST_CHECK;

/* Adds the devices that the VM's words select, and attaches the network device to the switch.
 * Called after devices_add(). Any result but EXIT_OK has been logged. */
enum exit_code devices_add_virtio(struct vm *vm) MUST_CHECK;

/* Returns the number of pages of host memory that a disk of `size` bytes can need. */
uint64_t devices_disk_pages(uint64_t size, bool read_only);

/* Returns the number of pages of host memory that a network device needs. */
uint64_t devices_net_pages(void);

/* Disconnects the devices from the switch. Called before the next function, and may be called
 * again. */
void devices_stop_virtio(struct vm *vm);

/* Frees a part of what the devices have allocated, without the disks if the VM starts anew
 * (vm->again). Called when no vCPU of the VM is running. Returns true if nothing is left. */
bool devices_destroy_piece(struct vm *vm) MUST_CHECK;
