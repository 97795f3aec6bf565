/* SPDX-License-Identifier: MIT */
/* The devices that kvm-unit-tests expect from QEMU's PC, which a VM with the word `kut` has. */
#pragma once

#include "lib/compiler.h"

#include <stdint.h>

struct vm;

/* Adds the devices to the buses of a VM with `kut`. Called after devices_add(). Returns 0, or a
 * negative errno after a message. */
int kut_add(struct vm *vm) MUST_CHECK;

/* Returns the number of pages of host memory that the devices need. */
uint64_t kut_pages(void);

/* Frees this memory, if there is any. Called when no vCPU of the VM is running. */
void kut_remove(struct vm *vm);
