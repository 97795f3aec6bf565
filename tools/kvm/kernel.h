/* SPDX-License-Identifier: MIT */
/*
 * What the launcher reads from the Linux on which it runs. Each failure ends the machine after a
 * message.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Returns a statistic of a vCPU by its name, or 0 if there is none of this name. `stats` is the
 * file that KVM_GET_STATS_FD returned. */
uint64_t kvm_statistic(int stats, const char *name);
bool kvm_mmio_caching(void);

/* Returns the value of a line of /proc/meminfo, in pages. */
uint64_t kernel_pages(const char *name);

/* Returns the size of the code and static data of the kernel and its modules. */
uint64_t kernel_bytes(void);

/* Prints a line for each vulnerability of the CPU that says how the kernel mitigates it. */
void print_mitigations(void);
