/*
 * Who may take how many pages: what a VM may come to need is promised to it when it is created, or
 * it is not created (decision D20). Pages are counted, not places: a promise is kept as long as
 * pages come one by one. Pure, and without a lock of its own: arch/x86/memory.c has one.
 *
 * Account 0 is the hypervisor's own, and has no limit. No account takes what is promised to
 * another.
 */
#pragma once

#include "lib/compiler.h"

#include <stdbool.h>
#include <stdint.h>

#define LEDGER_ACCOUNTS 97u /* VMs are numbered from 1; each boot module may be one */

struct account {
    uint64_t promised, used; /* pages */
    bool grows;              /* beyond what is promised, while there is more */
};

struct ledger {
    struct account accounts[LEDGER_ACCOUNTS];
    uint64_t outstanding; /* promised and not taken yet, by all */
};

/* May these pages be promised to this account, which is closed, while so many are free? */
bool ledger_open(struct ledger *ledger, unsigned account, uint64_t pages, bool grows,
                 uint64_t free_pages);

/* Nothing is promised any more. What is used is given back later. */
void ledger_close(struct ledger *ledger, unsigned account);

bool ledger_take_more(struct ledger *ledger, unsigned account, uint64_t pages, uint64_t free_pages);

/* Before pages are taken, while so many are free; false: they may not be. Nearly always they are
 * promised. */
static inline bool ledger_take(struct ledger *ledger, unsigned account, uint64_t pages,
                               uint64_t free_pages)
{
    struct account *a = &ledger->accounts[account];
    if (unlikely(a->used + pages > a->promised))
        return ledger_take_more(ledger, account, pages, free_pages);
    a->used += pages;
    ledger->outstanding -= pages;
    return true;
}
void ledger_give_back(struct ledger *ledger, unsigned account, uint64_t pages);
