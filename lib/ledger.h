/* SPDX-License-Identifier: MIT */
/*
 * The ledger decides how many pages each VM may take. The pages that a VM may come to need are
 * promised to it when it is created; if they cannot be promised, it is not created (decision D20).
 * The ledger counts pages, not blocks, so a promise is certain to be kept only for allocations of
 * single pages. It is pure and has no lock: arch/x86/memory.c holds one.
 *
 * Account 0 is the hypervisor's own and has no limit, except that no account takes what is promised
 * to another.
 */
#pragma once

#include "lib/compiler.h"

#include <stdbool.h>
#include <stdint.h>

#define LEDGER_ACCOUNTS 97u /* VMs are numbered from 1, and each boot module may be a VM */

struct account {
    uint64_t promised, used; /* pages */
    bool grows;              /* it may take more than promised, if no other account loses by it */
};

struct ledger {
    struct account accounts[LEDGER_ACCOUNTS];
    uint64_t outstanding; /* pages promised to all accounts and not taken yet */
};

/* Opens a closed account and promises `pages` to it, beside those that it still uses from before.
 * Returns false if there are too few pages: `free_pages` is the number of free pages, and those
 * that are promised already do not count. */
bool ledger_open(struct ledger *ledger, unsigned account, uint64_t pages, bool grows,
                 uint64_t free_pages);

/* Closes an account: nothing is promised to it any more. Pages that it uses are given back
 * later. */
void ledger_close(struct ledger *ledger, unsigned account);

bool ledger_take_more(struct ledger *ledger, unsigned account, uint64_t pages, uint64_t free_pages);

/* Accounts for pages before they are allocated. `free_pages` is the number of free pages before the
 * allocation. Returns false if the account may not take that many. Common case: the pages were
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
