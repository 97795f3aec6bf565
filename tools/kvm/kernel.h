/* SPDX-License-Identifier: MIT */
/*
 * What the Linux below the launcher says of itself. Each failure ends the machine with a sentence.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* A number of a vCPU's statistics, of which KVM gave the file; 0 if it has none of the name. */
uint64_t kvm_statistic(int stats, const char *name);
bool kvm_mmio_caching(void);

/* A line of /proc/meminfo, in pages. */
uint64_t kernel_pages(const char *name);

/* Code and static data of the kernel and of its modules. */
uint64_t kernel_bytes(void);

/* A line for each weakness of the CPU: what the kernel does about it. */
void print_mitigations(void);
