/* SPDX-License-Identifier: MIT */
/* Host RAM: the pages that the hypervisor may use, and their allocator (lib/page.h). */
#pragma once

#include "arch/x86/this_cpu.h"
#include "boot/boot_info.h"
#include "lib/compiler.h"
#include "lib/types.h"

/* Sets up the final page tables, and page_alloc() over the RAM that is not used by the image or a
 * module and lies above the first MiB. Keeps a pointer to `info`. Returns 0, or -ENOMEM after a
 * message. */
int memory_init(const struct boot_info *info) MUST_CHECK;

/* The accounts of VMs, by their numbers in the report (lib/ledger.h); account 0 is the
 * hypervisor's. memory_open() promises pages to an account, or returns false if so many can't be
 * promised now. memory_pay_from() makes this CPU take pages from an account from now on. */
bool memory_open(unsigned account, uint64_t pages, bool grows) MUST_CHECK;
void memory_close(unsigned account);
static inline void memory_pay_from(unsigned account)
{
    cpus[this_cpu()].payer = account;
}

/* The number of pages that an account uses. */
uint64_t memory_used(unsigned account);

/* The number of free pages that are not promised to any account. */
uint64_t memory_unpromised(void);

uint64_t memory_total_pages(void);
uint64_t memory_free_pages(void);

/* Starts to record which pages are allocated, for memory_kept(). */
void memory_mark(void);

/* Returns how many more pages are in use than at memory_mark(), and prints a warning that names
 * each place in the code that allocated some of them. No other CPU may be running. */
uint64_t memory_kept(void);
