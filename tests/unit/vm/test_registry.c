/* SPDX-License-Identifier: MIT */
/*
 * The VMs that exist (vm/registry.c): found by their numbers, held by several at once, and taken
 * apart once, by the last one that lets go.
 */
#include "tests/unit/support.h"

#include "vm/registry.h"
#include "vm/vm.h"

#include "boot/boot_info.h"

static struct vm vms[3];
static unsigned unused[3];

static void take_apart(struct vm *vm)
{
    unused[vm - vms]++;
}

static void holds(void **state)
{
    (void)state;
    static const unsigned numbers[] = {1, 7, BOOT_MODULES};
    assert_null(registry_hold_next(0));
    for (unsigned i = 0; i < 3; i++) {
        vms[i].number = (uint16_t)numbers[i];
        registry_add(&vms[i]);
    }
    unsigned after = 0;
    for (unsigned i = 0; i < 3; i++) {
        struct vm *vm = registry_hold_next(after);
        assert_ptr_equal(vm, &vms[i]);
        assert_ptr_equal(registry_hold(vm->number), vm);
        after = vm->number;
    }
    assert_null(registry_hold_next(after));
    assert_null(registry_hold(0));
    assert_null(registry_hold(2));
    assert_null(registry_hold(BOOT_MODULES + 1));
    assert_null(registry_hold(~0u));
    for (unsigned i = 0; i < 3; i++) {
        registry_remove(&vms[i], take_apart);
        assert_null(registry_hold(vms[i].number)); /* it has left */
        registry_release(&vms[i]);
        assert_int_equal(unused[i], 0);
        registry_release(&vms[i]);
        assert_int_equal(unused[i], 1);
    }
}

/* A VM that nobody holds, one that never started, and one that starts anew with its number. */
static void nobody(void **state)
{
    (void)state;
    vms[0].number = 5;
    for (unsigned i = 0; i < 3; i++) {
        registry_add(&vms[0]);
        if (i == 1)
            registry_release(registry_hold(5));
        unused[0] = 0;
        registry_remove(&vms[0], take_apart);
        assert_int_equal(unused[0], 1);
    }
    vms[1].number = 6;
    unused[1] = 0;
    registry_remove(&vms[1], take_apart);
    assert_int_equal(unused[1], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holds),
        cmocka_unit_test(nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
