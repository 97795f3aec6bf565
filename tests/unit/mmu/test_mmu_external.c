/* SPDX-License-Identifier: MIT */
/*
 * A protected VM as the machine has it: MMU, mirror, secure side and a pool of real pages that are
 * out of the direct map. Its memory is populated, converted and given back; what is asked for
 * wrongly is refused with a message (rules X12 to X16).
 */
#include "mmu_world.h"

#include "ept/tdx_status.h"
#include "lib/host_tlb.h"
#include "mmu/external.h"
#include "mmu/mirror.h"

#include <string.h>

#define RAM    0x200000ull
#define PAGES  2048ull
#define SHARED BIT(MIRROR_SHARED_BIT)

static const struct mmu_config usual = {.mmio_caching = true, .ad = true, .huge = 1};
static struct mmu mmu;
static struct external external;
static unsigned measured;
static uint64_t image[EPT_ENTRIES] = {1, 2, 3, [511] = 4};

static void measure(struct mmu *of, gfn_t gfn, const void *content)
{
    assert_ptr_equal(of, &mmu);
    assert_int_equal(gfn.v, RAM / PAGE_SIZE + measured);
    assert_memory_equal(content, image, PAGE_SIZE);
    measured++;
}

static int create(void)
{
    int error;
    assert_int_equal(mmu_create(&mmu), 0);
    assert_int_equal(mmu_steal_bit(&mmu, MIRROR_SHARED_BIT, STOLEN_SHARED), 0);
    memset(&external, 0, sizeof(external));
    external.measure = measure;
    measured = 0;
    do
        error = external_create(&external, &mmu, PAGES, false);
    while (error == -EINPROGRESS);
    return error;
}

static void destroy(void)
{
    while (!mmu_destroy_piece(&mmu))
        ;
    while (!external_destroy_piece(&external))
        ;
    assert_int_equal(support_pages_in_use(), 0);
}

static int setup(void **state)
{
    (void)state;
    world_reset(WORLD_CAPS, &usual);
    return create();
}

static int setup_running(void **state)
{
    return setup(state) || mmu_slot_add(&mmu, 1, GPA(RAM), PAGES, 0);
}

static uint64_t accepts(uint64_t gpa, unsigned level)
{
    uint64_t status;
    int error;
    do
        error = mmu_td_accept(&mmu, GPA(gpa), level, &status);
    while (error == -EAGAIN);
    assert_int_equal(error, 0);
    return status;
}

static bool logged(const char *text)
{
    return strstr(support_log(), text);
}

/* ---- Tests ----------------------------------------------------------------------------------- */

static void it_is_made_or_refused_and_nothing_is_lost(void **state)
{
    (void)state;
    destroy();
    unsigned failed = 0;
    for (unsigned after = 0;; after++) {
        world_reset(WORLD_CAPS, &usual);
        assert_int_equal(mmu_create(&mmu), 0); /* which may fail elsewhere */
        assert_int_equal(mmu_steal_bit(&mmu, MIRROR_SHARED_BIT, STOLEN_SHARED), 0);
        memset(&external, 0, sizeof(external));
        support_fail_allocations_after(after);
        int error;
        do
            error = external_create(&external, &mmu, PAGES, false);
        while (error == -EINPROGRESS);
        support_fail_allocations_after(UINT64_MAX);
        destroy();
        if (!error)
            break;
        assert_int_equal(error, -ENOMEM);
        failed++;
    }
    assert_true(failed > 2 * private_pool_blocks(PAGES));
}

static void it_takes_what_was_promised(void **state)
{
    (void)state;
    uint64_t before = support_pages_in_use();
    destroy();
    world_reset(WORLD_CAPS, &usual);
    assert_int_equal(mmu_create(&mmu), 0);
    assert_true(before >= external_pages(PAGES) + support_pages_in_use());
    mmu_destroy(&mmu);
}

static void a_guest_gets_its_memory(void **state)
{
    (void)state;
    char text[8];
    struct secure_td *td = &external.td;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(mmu_td_add(&mmu, GFN(RAM / PAGE_SIZE + i), image), 0);
    assert_int_equal(measured, 3);
    assert_int_equal(mmu_td_finalise(&mmu), 0);
    assert_int_equal(accepts(RAM + 0x3000, 1), TDX_SUCCESS);
    assert_int_equal(accepts(RAM + 0x200000, 2), TDX_SUCCESS);
    assert_int_equal(secure_write_private(td, GFN(0x403), 8, "private", 8), TDX_SUCCESS);
    assert_int_equal(secure_read_private(td, GFN(0x403), 8, text, 8), TDX_SUCCESS);
    assert_string_equal(text, "private");
    assert_int_equal(mmu_convert(&mmu, GPA(RAM + 0x203000), 1, true), 1);
    assert_int_equal(secure_read_private(td, GFN(0x403), 8, text, 8),
                     TDX_EPT_ENTRY_STATE_INCORRECT);
    assert_int_equal(secure_read_private(td, GFN(0x404), 8, text, 8), TDX_SUCCESS);
    assert_int_equal(guest_write(&mmu, GPA(RAM + 0x203008 + SHARED), "shared!", 8), 0);
    assert_int_equal(mmu_convert(&mmu, GPA(RAM + 0x203000), 1, false), 1);
    assert_int_equal(accepts(RAM + 0x203000, 1), TDX_SUCCESS);
    assert_int_equal(secure_read_private(td, GFN(0x403), 8, text, 8), TDX_SUCCESS);
    assert_memory_equal(text, "\0\0\0\0\0\0\0", 8);
    assert_false(logged("the secure side refuses"));
}

/* The hypervisor lies: each lie is refused, and said once. */
static void a_lie_is_said_once(void **state)
{
    (void)state;
    struct secure_td *td = &external.td;
    hpa_t page, other = private_frame_get(&external.pool, EPT_LEVEL_4K);
    enum secure_state found;
    assert_int_equal(mmu_td_add(&mmu, GFN(0x200), image), 0);
    assert_int_equal(secure_read(td, GFN(0x200), 1, &page, &found), TDX_SUCCESS);
    assert_int_equal(mmu_td_finalise(&mmu), 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(secure_page_add(td, GFN(0x201), other, image), TDX_OP_STATE_INCORRECT);
        assert_int_equal(secure_page_aug(td, GFN(0x201), 1, page), TDX_PAGE_METADATA_INCORRECT);
        assert_int_equal(secure_page_aug(td, GFN(0x200), 1, other), TDX_EPT_ENTRY_STATE_INCORRECT);
        assert_int_equal(secure_page_remove(td, GFN(0x200), 1), TDX_GPA_RANGE_NOT_BLOCKED);
    }
    const char *line = strstr(support_log(), "refuses page_remove");
    assert_non_null(line);
    assert_null(strstr(line + 1, "refuses page_remove"));
    assert_true(logged("the secure side refuses page_add of guest frame 0x201 at level 1 with "
                       "page 0x"));
    assert_true(logged("its entry is FREE, status TDX_OP_STATE_INCORRECT (0xc000060800000000); "
                       "nothing has changed, and no page is lost"));
    assert_true(logged("status TDX_PAGE_METADATA_INCORRECT"));
    assert_true(logged("its entry is MAPPED, status TDX_EPT_ENTRY_STATE_INCORRECT"));
    assert_true(logged("its entry is MAPPED, status TDX_GPA_RANGE_NOT_BLOCKED"));
    assert_int_equal(accepts(RAM + 0x1000, 1), TDX_SUCCESS); /* it goes on */
    private_frame_put(&external.pool, other, EPT_LEVEL_4K);
}

static void every_status_has_a_name(void **state)
{
    (void)state;
    assert_string_equal(tdx_status_name(TDX_SUCCESS), "TDX_SUCCESS");
    assert_string_equal(tdx_status_name(TDX_EPT_PAGE_NOT_FREE), "TDX_EPT_PAGE_NOT_FREE");
    assert_string_equal(tdx_status_name(77), "an unknown status");
    assert_true(tdx_status_number(77) < 32);
}

static int teardown(void **state)
{
    (void)state;
    destroy();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(it_is_made_or_refused_and_nothing_is_lost, setup),
        cmocka_unit_test_setup(it_takes_what_was_promised, setup),
        cmocka_unit_test_setup_teardown(a_guest_gets_its_memory, setup_running, teardown),
        cmocka_unit_test_setup_teardown(a_lie_is_said_once, setup_running, teardown),
        cmocka_unit_test(every_status_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
