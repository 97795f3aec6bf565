/* SPDX-License-Identifier: MIT */
/* The page allocator and its accounts; see the header and lib/page.h. */
#include "arch/x86/memory.h"

#include "arch/x86/backtrace.h"
#include "arch/x86/this_cpu.h"
#include "arch/x86/paging.h"
#include "arch/x86/ram.h"
#include "boot/layout.h"
#include "lib/bits.h"
#include "lib/errno.h"
#include "lib/ledger.h"
#include "lib/log.h"
#include "lib/page.h"
#include "lib/spinlock.h"

extern const char image_start[], image_end[];

static struct ram ram;
static struct ledger ledger;
static struct spinlock lock; /* protects `ram` and `ledger` */
static bool ready;           /* until then, pages come from ram_early() */

uint64_t direct_map = DIRECT_MAP;

hpa_t virt_to_phys(const void *pointer)
{
    uint64_t address = (uint64_t)pointer;
    return HPA(address - (address >= KERNEL_BASE ? KERNEL_BASE : DIRECT_MAP));
}

/* The user of a block: the address that allocated it, and the account that pays for it. */
#define ASKER BITS(23, 0) /* an address in the image, of which 24 bits are enough */
#define PAYER BITS(31, 24)

hpa_t page_alloc(unsigned order)
{
    unsigned payer = cpus[this_cpu()].payer;
    uint32_t user = (uint32_t)((uintptr_t)__builtin_return_address(0) & ASKER) | payer << 24;
    hpa_t page = PAGE_NONE;
    spin_lock(&lock);
    if (unlikely(!ready)) {
        page = ram_early(&ram, 1ull << order);
    } else if (likely(ledger_take(&ledger, payer, 1ull << order, ram.buddy.free_pages))) {
        page = buddy_alloc(&ram.buddy, order, user);
        if (unlikely(page_is_none(page)))
            ledger_give_back(&ledger, payer, 1ull << order);
    }
    spin_unlock(&lock);
    return page;
}

void page_free(hpa_t page, unsigned order)
{
    spin_lock(&lock);
    uint32_t payer = *buddy_user(&ram.buddy, page.v >> PAGE_SHIFT) >> 24;
    buddy_free(&ram.buddy, page, order);
    ledger_give_back(&ledger, payer, 1ull << order);
    spin_unlock(&lock);
}

void page_trim(hpa_t page, unsigned order, uint64_t count)
{
    spin_lock(&lock);
    uint32_t payer = *buddy_user(&ram.buddy, page.v >> PAGE_SHIFT) >> 24;
    buddy_trim(&ram.buddy, page, order, count);
    ledger_give_back(&ledger, payer, (1ull << order) - count);
    spin_unlock(&lock);
}

void page_free_trimmed(hpa_t page, uint64_t count)
{
    for (uint64_t at = 0, part; at < count; at += 1ull << part) {
        part = buddy_part(count - at);
        page_free(HPA(page.v + (at << PAGE_SHIFT)), (unsigned)part);
    }
}

const char *page_shortage(void)
{
    unsigned payer = cpus[this_cpu()].payer;
    return payer && !ledger.accounts[payer].grows
               ? "the VM uses all memory that is reserved for it; give it more with mem= or limit="
               : "give the machine more memory";
}

bool memory_open(unsigned account, uint64_t pages, bool grows)
{
    spin_lock(&lock);
    bool opened = ledger_open(&ledger, account, pages, grows, ram.buddy.free_pages);
    spin_unlock(&lock);
    return opened;
}

void memory_close(unsigned account)
{
    spin_lock(&lock);
    ledger_close(&ledger, account);
    spin_unlock(&lock);
}

uint64_t memory_used(unsigned account)
{
    spin_lock(&lock);
    uint64_t pages = ledger.accounts[account].used;
    spin_unlock(&lock);
    return pages;
}

uint64_t memory_unpromised(void)
{
    spin_lock(&lock);
    uint64_t pages = ram.buddy.free_pages - ledger.outstanding;
    spin_unlock(&lock);
    return pages;
}

uint64_t page_end(void)
{
    return ram.buddy.end << PAGE_SHIFT;
}

void page_clear(void *pages, unsigned order)
{
    uint64_t quads = 512ull << order;
    __asm__ volatile("rep stosq" : "+D"(pages), "+c"(quads) : "a"(0) : "memory");
}

uint64_t memory_total_pages(void)
{
    return ram.buddy.total_pages;
}

uint64_t memory_free_pages(void)
{
    return ram.buddy.free_pages;
}

/* ---- Pages that are not given back ---------------------------------------------------------- */

static uint64_t free_at_mark;

void memory_mark(void)
{
    ram.buddy.noting = true;
    free_at_mark = ram.buddy.free_pages;
}

/* Prints one line for all blocks that were allocated at the same address as the block at `first`,
 * and clears their users, so that they are not printed again. */
static void memory_log_kept(uint64_t first)
{
    struct buddy *buddy = &ram.buddy;
    uint64_t asker = *buddy_user(buddy, first) & ASKER;
    uint64_t pages = 0, blocks = 0, offset;
    for (uint64_t frame = first; frame < buddy->end; frame = buddy_next_noted(buddy, frame + 1)) {
        if ((*buddy_user(buddy, frame) & ASKER) != asker)
            continue;
        pages += 1ull << buddy_order(buddy, frame);
        blocks++;
        *buddy_user(buddy, frame) = 0;
    }
    const char *name = symbol_at(KERNEL_BASE | asker, &offset);
    log_info("  %lu pages in %lu blocks that %s+%#lx allocated, the first at %#lx", pages, blocks,
             name ? name : "?", offset, first << PAGE_SHIFT);
}

hpa_t page_alloc_for_ever(unsigned order)
{
    struct buddy *buddy = &ram.buddy;
    hpa_t page = PAGE_NONE;
    spin_lock(&lock);
    if (ledger_take(&ledger, 0, 1ull << order, buddy->free_pages)) {
        bool noting = buddy->noting;
        buddy->noting = false;
        page = buddy_alloc(buddy, order, 0);
        buddy->noting = noting;
        if (page_is_none(page))
            ledger_give_back(&ledger, 0, 1ull << order);
        else
            free_at_mark -= 1ull << order;
    }
    spin_unlock(&lock);
    return page;
}

uint64_t memory_kept(void)
{
    struct buddy *buddy = &ram.buddy;
    uint64_t kept = free_at_mark - buddy->free_pages;
    if (!kept)
        return 0;
    log_warn(
        "memory: %ld pages were not given back; the code that allocated them has to free them:",
        kept);
    for (uint64_t frame = buddy_next_noted(buddy, 0); frame < buddy->end;
         frame = buddy_next_noted(buddy, frame + 1))
        if (*buddy_user(buddy, frame))
            memory_log_kept(frame);
    return kept;
}

/* ---- Setting it up --------------------------------------------------------------------------*/

int memory_init(const struct boot_info *info)
{
    const struct span image = {virt_to_phys(image_start).v, virt_to_phys(image_end).v};
    int error = ram_plan(&ram, info, image, paging_ram_end());
    if (error)
        return error;
    if (!paging_init(info)) {
        log_error("no piece of RAM below 4 GiB holds the hypervisor's page tables; the largest is "
                  "in use up to the page at %#lx",
                  ram.early);
        return -ENOMEM;
    }
    error = ram_open(&ram);
    ready = !error;
    return error;
}
