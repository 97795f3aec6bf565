#include "arch/x86/memory.h"

#include "arch/x86/backtrace.h"
#include "arch/x86/cpus.h"
#include "arch/x86/paging.h"
#include "boot/layout.h"
#include "lib/bits.h"
#include "lib/buddy.h"
#include "lib/errno.h"
#include "lib/ledger.h"
#include "lib/log.h"
#include "lib/page.h"
#include "lib/spinlock.h"
#include "lib/string.h"

#define LOW_MEMORY  0x100000ull /* left to the firmware and to the start of other CPUs */
#define BOOT_MAPPED BIT(32)     /* what boot/start.S maps */

extern const char image_start[], image_end[];

static struct buddy buddy;
static struct spinlock buddy_lock;
static struct ledger ledger;
static uint32_t *askers; /* by the first frame of a block: ASKER and PAYER */

struct span {
    uint64_t start, end;
};

uint64_t direct_map = DIRECT_MAP;

hpa_t virt_to_phys(const void *pointer)
{
    uint64_t address = (uint64_t)pointer;
    return HPA(address - (address >= KERNEL_BASE ? KERNEL_BASE : DIRECT_MAP));
}

/* Of a block in use: who asked for it, and whose it is. */
#define ASKER BITS(23, 0) /* an address within the image, which is smaller */
#define PAYER BITS(31, 24)

hpa_t page_alloc(unsigned order)
{
    unsigned payer = cpus[this_cpu()].payer;
    hpa_t page = PAGE_NONE;
    spin_lock(&buddy_lock);
    if (likely(ledger_take(&ledger, payer, 1ull << order, buddy.free_pages))) {
        page = buddy_alloc(&buddy, order);
        if (unlikely(page_is_none(page)))
            ledger_give_back(&ledger, payer, 1ull << order);
    }
    spin_unlock(&buddy_lock);
    if (likely(!page_is_none(page)))
        askers[page.v >> PAGE_SHIFT] =
            (uint32_t)((uintptr_t)__builtin_return_address(0) & ASKER) | payer << 24;
    return page;
}

void page_free(hpa_t page, unsigned order)
{
    unsigned payer = askers[page.v >> PAGE_SHIFT] >> 24;
    askers[page.v >> PAGE_SHIFT] = 0;
    spin_lock(&buddy_lock);
    ledger_give_back(&ledger, payer, 1ull << order);
    buddy_free(&buddy, page, order);
    spin_unlock(&buddy_lock);
}

const char *page_shortage(void)
{
    unsigned payer = cpus[this_cpu()].payer;
    return payer && !ledger.accounts[payer].grows
               ? "the VM has all that it was promised; give it more with mem= or limit="
               : "give the machine more memory";
}

bool memory_open(unsigned account, uint64_t pages, bool grows)
{
    spin_lock(&buddy_lock);
    bool opened = ledger_open(&ledger, account, pages, grows, buddy.free_pages);
    spin_unlock(&buddy_lock);
    return opened;
}

void memory_close(unsigned account)
{
    spin_lock(&buddy_lock);
    ledger_close(&ledger, account);
    spin_unlock(&buddy_lock);
}

uint64_t memory_unpromised(void)
{
    spin_lock(&buddy_lock);
    uint64_t pages = buddy.free_pages - ledger.outstanding;
    spin_unlock(&buddy_lock);
    return pages;
}

void page_clear(void *pages, unsigned order)
{
    uint64_t words = 512ull << order;
    __asm__ volatile("rep stosq" : "+D"(pages), "+c"(words) : "a"(0) : "memory");
}

uint64_t memory_total_pages(void)
{
    return buddy.total_pages;
}

uint64_t memory_free_pages(void)
{
    return buddy.free_pages;
}

/* ---- Pages that are not given back ---------------------------------------------------------- */

static uint64_t free_at_mark;

void memory_mark(void)
{
    memset(askers, 0, buddy.end * sizeof(*askers)); /* all that is in use is ours */
    free_at_mark = buddy.free_pages;
}

/* All blocks of the one who asked for that at `first`. */
static void say_who_keeps(uint64_t first)
{
    uint64_t asker = askers[first] & ASKER;
    uint64_t pages = 0, blocks = 0, offset;
    for (uint64_t frame = first; frame < buddy.end; frame++) {
        if (!askers[frame] || (askers[frame] & ASKER) != asker)
            continue;
        pages += 1ull << buddy_order(&buddy, frame);
        blocks++;
        askers[frame] = 0;
    }
    const char *name = symbol_at(KERNEL_BASE | asker, &offset);
    log_info("  %lu pages in %lu blocks that %s+%#lx asked for, the first at %#lx", pages, blocks,
             name ? name : "?", offset, first << PAGE_SHIFT);
}

uint64_t memory_kept(void)
{
    uint64_t kept = free_at_mark - buddy.free_pages;
    if (!kept)
        return 0;
    log_warn("memory: %ld pages were not given back; whoever asks for one has to free it:", kept);
    for (uint64_t frame = 0; frame < buddy.end; frame++)
        if (askers[frame])
            say_who_keeps(frame);
    return kept;
}

/* ---- Setting it up --------------------------------------------------------------------------*/

/* What is in use already: the lowest such span that ends above `from`, or an empty one. */
static struct span next_reserved(const struct boot_info *info, struct span state, uint64_t from)
{
    struct span best = {UINT64_MAX, UINT64_MAX};
    for (unsigned i = 0; i < info->module_count + 3 + info->range_count; i++) {
        struct span s;
        if (i == 0)
            s = (struct span){0, LOW_MEMORY};
        else if (i == 1)
            s = (struct span){virt_to_phys(image_start).v, virt_to_phys(image_end).v};
        else if (i == 2)
            s = state;
        else if (i < 3 + info->module_count)
            s = (struct span){info->modules[i - 3].base.v,
                              info->modules[i - 3].base.v + info->modules[i - 3].size};
        else {
            const struct boot_range *range = &info->ranges[i - 3 - info->module_count];
            if (range->kind == BOOT_RAM) /* the others win where ranges overlap */
                continue;
            s = (struct span){range->base.v, range->base.v + range->size};
        }
        if (s.end > s.start && s.end > from && s.start < best.start)
            best = s;
    }
    return best;
}

/* Calls `use` for each free, page-aligned piece of RAM in low..high. */
static void for_each_free(const struct boot_info *info, struct span state, uint64_t low,
                          uint64_t high, void (*use)(struct span piece, void *context),
                          void *context)
{
    for (unsigned i = 0; i < info->range_count; i++) {
        const struct boot_range *range = &info->ranges[i];
        if (range->kind != BOOT_RAM)
            continue;
        uint64_t at = range->base.v > low ? range->base.v : low;
        uint64_t end = range->base.v + range->size < high ? range->base.v + range->size : high;
        at = align_up(at, PAGE_SIZE);
        end = align_down(end, PAGE_SIZE);
        while (at < end) {
            struct span reserved = next_reserved(info, state, at);
            struct span piece = {at, reserved.start < end ? align_down(reserved.start, PAGE_SIZE)
                                                          : end};
            if (piece.start < piece.end)
                use(piece, context);
            if (reserved.start >= end)
                break;
            at = align_up(reserved.end, PAGE_SIZE);
        }
    }
}

static void find_largest(struct span piece, void *context)
{
    struct span *largest = context;
    if (piece.end - piece.start > largest->end - largest->start)
        *largest = piece;
}

static void add(struct span piece, void *context)
{
    (void)context;
    buddy_add(&buddy, piece.start >> PAGE_SHIFT, piece.end >> PAGE_SHIFT);
}

int memory_init(const struct boot_info *info)
{
    uint64_t top = 0, ram = 0;
    for (unsigned i = 0; i < info->range_count; i++) {
        const struct boot_range *range = &info->ranges[i];
        if (range->kind != BOOT_RAM)
            continue;
        ram += range->size;
        if (range->base.v + range->size > top)
            top = range->base.v + range->size;
    }
    if (ram < MEMORY_MIN) {
        log_error("%lu KiB of RAM, but at least %llu KiB are needed; give the machine more memory",
                  ram >> 10, MEMORY_MIN >> 10);
        return -ENOMEM;
    }

    /* Five bytes for each page, at the end of the largest piece that is mapped already. */
    struct span none = {0, 0}, largest = {0, 0};
    uint64_t pages = top >> PAGE_SHIFT;
    uint64_t bytes = align_up(pages * (sizeof(*askers) + 1), PAGE_SIZE);
    for_each_free(info, none, LOW_MEMORY, BOOT_MAPPED, find_largest, &largest);
    if (largest.end - largest.start < bytes + MEMORY_MIN / 4) {
        log_error("no free piece of RAM below 4 GiB holds the %lu KiB of page states; the largest "
                  "has %lu KiB",
                  bytes >> 10, (largest.end - largest.start) >> 10);
        return -ENOMEM;
    }
    struct span state = {largest.end - bytes, largest.end};
    askers = phys_to_virt(HPA(state.start));
    buddy_init(&buddy, (uint8_t *)(askers + pages), 0, pages);
    for_each_free(info, state, LOW_MEMORY, BOOT_MAPPED, add, NULL);
    paging_init(info);
    for_each_free(info, state, BOOT_MAPPED, UINT64_MAX, add, NULL);
    return 0;
}
