/* SPDX-License-Identifier: MIT */
/*
 * Ends its VM by a memory fault (words `shared=39,execute_only=38,expect=memory-fault`): with no
 * argument by a shared access to a private page, with `fetch` by running shared code, with `device`
 * by a private access to a device, with `code` by reading what may only be executed, with `half` by
 * an emulated store of which one half is a device and the other the shared address of a private
 * page, with `old` by the private address of a page that it has used and then converted.
 */
#include "guest/programs/rt/sides.h"

#define REGION 0x1000000ull

static void access(void)
{
    switch (*rt_args) {
    case 'f':
        map_gpa(REGION | shared_bit(), RT_PAGE);
        map_page(rt_pml4, TEST_VA, REGION | shared_bit(), PTE_P | PTE_W);
        write32(TEST_VA, 0xc3);
        ((void (*)(void))(uintptr_t)TEST_VA)();
        break;
    case 'd':
        read32(TESTDEV_A_BASE);
        break;
    case 'h':
        map_page(rt_pml4, TEST_VA, TESTDEV_A_BASE | shared_bit(), PTE_P | PTE_W);
        map_page(rt_pml4, TEST_VA + RT_PAGE, REGION | shared_bit(), PTE_P | PTE_W);
        write32(TEST_VA, 0);
        write32(TEST_VA + RT_PAGE - 2, 0);
        break;
    case 'o':
        write32(REGION, 1);
        map_gpa(REGION | shared_bit(), RT_PAGE);
        map_page(rt_pml4, TEST_VA, REGION | shared_bit(), PTE_P | PTE_W);
        write32(TEST_VA, 1);
        read32(REGION);
        break;
    default:
        map_page(rt_pml4, TEST_VA, REGION | (*rt_args == 'c' ? code_bit() : shared_bit()), PTE_P);
        read32(TEST_VA);
    }
}

void guest_main(void)
{
    run_forbidden("access", access);
}
