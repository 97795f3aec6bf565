/* Host RAM: which of it is ours to use, and the allocator over it (lib/page.h). */
#pragma once

#include "arch/x86/this_cpu.h"
#include "boot/boot_info.h"
#include "lib/compiler.h"
#include "lib/types.h"

/* Sets up page_alloc() over the RAM that neither the image, a module nor the first MiB uses, and
 * the final page tables. Keeps `info`. Returns 0 or -ENOMEM after a sentence. */
int memory_init(const struct boot_info *info) MUST_CHECK;

/* What VMs are promised, by their numbers in the report (lib/ledger.h). Between open and close,
 * what a CPU takes while it works for the VM is the VM's; 0 is the hypervisor's own. False: so much
 * can't be promised now. */
bool memory_open(unsigned account, uint64_t pages, bool grows) MUST_CHECK;
void memory_close(unsigned account);
static inline void memory_pay_from(unsigned account)
{
    cpus[this_cpu()].payer = account;
}

/* How many pages could be promised now. */
uint64_t memory_unpromised(void);

uint64_t memory_total_pages(void);
uint64_t memory_free_pages(void);

/* From now on it is noted who asks for pages. */
void memory_mark(void);

/* How many more pages are in use than at the mark; warns of each function that asked for such. With
 * no other CPU running. */
uint64_t memory_kept(void);
