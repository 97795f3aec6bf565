/* SPDX-License-Identifier: MIT */
/* The accounts of promised pages; see the header. Pure. */
#include "lib/ledger.h"

#include "lib/assert.h"

/* The pages that were promised to an account and that it has not taken yet. */
static uint64_t ledger_rest(const struct account *account)
{
    return account->promised > account->used ? account->promised - account->used : 0;
}

bool ledger_open(struct ledger *ledger, unsigned account, uint64_t pages, bool grows,
                 uint64_t free_pages)
{
    struct account *a = &ledger->accounts[account];
    BUG_ON(!account || account >= LEDGER_ACCOUNTS || a->promised);
    if (free_pages < ledger->outstanding || pages > free_pages - ledger->outstanding)
        return false;
    a->promised = a->used + pages;
    a->grows = grows;
    ledger->outstanding += pages;
    return true;
}

void ledger_close(struct ledger *ledger, unsigned account)
{
    struct account *a = &ledger->accounts[account];
    ledger->outstanding -= ledger_rest(a);
    a->promised = 0;
    a->grows = false;
}

bool ledger_take_more(struct ledger *ledger, unsigned account, uint64_t pages, uint64_t free_pages)
{
    struct account *a = &ledger->accounts[account];
    uint64_t promised = ledger_rest(a) < pages ? ledger_rest(a) : pages,
             others = ledger->outstanding - promised;
    bool may_grow = !account || a->grows;
    if (promised < pages && (!may_grow || free_pages < pages || free_pages - pages < others))
        return false;
    a->used += pages;
    ledger->outstanding = others;
    return true;
}

void ledger_give_back(struct ledger *ledger, unsigned account, uint64_t pages)
{
    struct account *a = &ledger->accounts[account];
    uint64_t before = ledger_rest(a);
    BUG_ON(a->used < pages);
    a->used -= pages;
    ledger->outstanding += ledger_rest(a) - before;
}
