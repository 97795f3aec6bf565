/*
 * What the Linux below the launcher says of itself, and how it ends. Each failure ends the machine
 * with a sentence.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The last words of a Linux without a future. */
_Noreturn void power_off(int code, const char *name);

/* Hands the result on, unless it is negative: `what` failed. */
int must(int result, const char *what);

/* The emulator's debugger takes over for as long as it likes. */
void stop_debugger(void);

/* A number of a vCPU's statistics, of which KVM gave the file; 0 if it has none of the name. */
uint64_t kvm_statistic(int stats, const char *name);
bool kvm_mmio_caching(void);

/* A line of /proc/meminfo, in pages. */
uint64_t kernel_pages(const char *name);

/* Code and static data of the kernel and of its modules. */
uint64_t kernel_bytes(void);
