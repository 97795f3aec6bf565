/* SPDX-License-Identifier: MIT */
/* Promises of memory: each is kept, whatever others take. */
#include "tests/unit/support.h"

#include "lib/ledger.h"

#include <stdlib.h>
#include <string.h>

static struct ledger ledger;

static int setup(void **state)
{
    (void)state;
    support_reset();
    memset(&ledger, 0, sizeof(ledger));
    return 0;
}

static void promises(void **state)
{
    (void)state;
    assert_true(ledger_open(&ledger, 1, 60, false, 100));
    assert_false(ledger_open(&ledger, 2, 41, false, 100));
    assert_true(ledger_open(&ledger, 2, 40, false, 100));
    assert_false(ledger_take(&ledger, 0, 1, 100)); /* not even we */
    assert_true(ledger_take(&ledger, 1, 60, 100));
    assert_false(ledger_take(&ledger, 1, 1, 40));
    assert_true(ledger_take(&ledger, 2, 40, 40));
    ledger_give_back(&ledger, 1, 10);
    assert_false(ledger_take(&ledger, 0, 1, 10));
    ledger_close(&ledger, 1);
    assert_true(ledger_take(&ledger, 0, 10, 10));
    ledger_give_back(&ledger, 1, 50); /* after its end, for nobody */
    assert_true(ledger_open(&ledger, 1, 50, false, 50));
}

static void growth_leaves_what_is_promised(void **state)
{
    (void)state;
    assert_true(ledger_open(&ledger, 1, 10, true, 100));
    assert_true(ledger_open(&ledger, 2, 50, false, 100));
    assert_true(ledger_take(&ledger, 1, 50, 100));
    assert_false(ledger_take(&ledger, 1, 1, 50));
    assert_true(ledger_take(&ledger, 2, 50, 50));
    ledger_give_back(&ledger, 1, 45); /* down to 5: 5 are its own again */
    assert_int_equal(ledger.outstanding, 5);
}

/* Against what it means: nobody ever fails to get what was promised, and no page is taken twice. */
static void any_order(void **state)
{
    (void)state;
    uint64_t free_pages = 1000, used[4] = {0}, promised[4] = {0};
    srandom(1);
    for (unsigned i = 0; i < 200000; i++) {
        unsigned who = (unsigned)random() % 4;
        uint64_t pages = (uint64_t)random() % 64, rests = 0;
        for (unsigned k = 1; k < 4; k++)
            rests += promised[k] > used[k] ? promised[k] - used[k] : 0;
        assert_int_equal(ledger.outstanding, rests);
        assert_true(rests <= free_pages);
        if (who && !promised[who] && random() % 2) { /* also if it still uses some */
            uint64_t want = 1 + (uint64_t)random() % 500;
            bool opened = ledger_open(&ledger, who, want, who == 3, free_pages);
            assert_int_equal(opened, want <= free_pages - rests);
            promised[who] = opened ? used[who] + want : 0;
        } else if (random() % 50 == 0) {
            if (who)
                ledger_close(&ledger, who);
            promised[who] = 0;
        } else if (random() % 2) {
            bool within = used[who] + pages <= promised[who];
            bool taken =
                (within || pages <= free_pages) && ledger_take(&ledger, who, pages, free_pages);
            assert_true(taken || !within);
            used[who] += taken ? pages : 0;
            free_pages -= taken ? pages : 0;
        } else if (pages <= used[who]) {
            ledger_give_back(&ledger, who, pages);
            used[who] -= pages;
            free_pages += pages;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(promises, setup),
        cmocka_unit_test_setup(growth_leaves_what_is_promised, setup),
        cmocka_unit_test_setup(any_order, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
