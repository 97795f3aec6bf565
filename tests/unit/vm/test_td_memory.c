/* SPDX-License-Identifier: MIT */
/* PAGE.ACCEPT as the glue answers it (vm/td_memory.c): the level in the status, by N133. */
#include "tests/unit/support.h"

#include "mmu/mirror.h"
#include "mmu/mmu.h"

static int fake_accept(struct mmu *mmu, gpa_t gpa, unsigned level, uint64_t *status);
static int fake_gpa_to_pfn(const struct mmu *mmu, gpa_t gpa, hpa_t *host, unsigned *level);
#define mmu_td_accept  fake_accept
#define mmu_gpa_to_pfn fake_gpa_to_pfn
#include "vm/td_memory.c"

static struct vm vm;
static int accept_returns, found_returns;
static uint64_t accept_status;
static unsigned found_level, asked_level;

static int fake_accept(struct mmu *mmu, gpa_t gpa, unsigned level, uint64_t *status)
{
    assert_ptr_equal(mmu, &vm.mmu);
    assert_int_equal(gpa.v, 0x200000);
    asked_level = level;
    *status = accept_status;
    return accept_returns;
}

static int fake_gpa_to_pfn(const struct mmu *mmu, gpa_t gpa, hpa_t *host, unsigned *level)
{
    assert_ptr_equal(mmu, &vm.mmu);
    assert_int_equal(gpa.v, 0x200000);
    *host = HPA(0);
    *level = found_level;
    return found_returns;
}

/* Leaf 6 says 0 and 1 where the EPT says 1 and 2. */
static void the_level_in_the_status(void **state)
{
    (void)state;
    static const struct {
        uint64_t status;
        unsigned asked, found;
        uint64_t answer;
    } rows[] = {
        {TDX_SUCCESS, 0, EPT_LEVEL_4K, 0},
        {TDX_SUCCESS, 1, EPT_LEVEL_2M, 0},
        {TDX_PAGE_SIZE_MISMATCH, 1, EPT_LEVEL_4K, TDX_PAGE_SIZE_MISMATCH | 1},
        {TDX_PAGE_ALREADY_ACCEPTED, 0, EPT_LEVEL_4K, TDX_PAGE_ALREADY_ACCEPTED},
        {TDX_PAGE_ALREADY_ACCEPTED, 0, EPT_LEVEL_2M, TDX_PAGE_ALREADY_ACCEPTED | 1},
        {TDX_PAGE_ALREADY_ACCEPTED, 0, EPT_LEVEL_1G, TDX_PAGE_ALREADY_ACCEPTED | 2},
        {TDX_PAGE_ALREADY_ACCEPTED, 1, EPT_LEVEL_2M, TDX_PAGE_ALREADY_ACCEPTED | 1},
        {TDX_PAGE_ALREADY_ACCEPTED, 1, EPT_LEVEL_4K, TDX_PAGE_ALREADY_ACCEPTED | 1}, /* 512 */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        accept_status = rows[i].status;
        found_level = rows[i].found;
        assert_int_equal(td_accept(&vm, GPA(0x200000), rows[i].asked), rows[i].answer);
        assert_int_equal(asked_level, rows[i].asked + 1);
    }
    found_returns = -ENOENT; /* it has just been converted */
    found_level = EPT_LEVEL_2M;
    accept_status = TDX_PAGE_ALREADY_ACCEPTED;
    assert_int_equal(td_accept(&vm, GPA(0x200000), 0), TDX_PAGE_ALREADY_ACCEPTED);
    found_returns = 0;
}

static void what_is_no_status(void **state)
{
    (void)state;
    accept_status = TDX_SUCCESS;
    accept_returns = -EAGAIN;
    assert_int_equal(td_accept(&vm, GPA(0x200000), 1), TD_ACCEPT_RETRY);
    accept_returns = -EFAULT;
    assert_int_equal(td_accept(&vm, GPA(0x200000), 1), TD_ACCEPT_NONE);
    accept_returns = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_level_in_the_status),
        cmocka_unit_test(what_is_no_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
