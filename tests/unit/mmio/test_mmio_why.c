/* SPDX-License-Identifier: MIT */
/*
 * Why an access was slow (struct mmio_miss): each thing that an access rests on is changed alone,
 * and the reason that is kept of the access that follows is that thing. The CPU of mmio_world.c
 * also compares mmio_replay_why() with what the fast path does, at each access of all tests.
 */
#include "arch/x86/reg_bits.h"
#include "tests/unit/mmio/mmio_replay_world.h"

#include "mmio/known.h"

#include <string.h>

static const struct mmio_miss *missed(void)
{
    assert_false(store_is_hot());
    assert_int_equal(world.vcpu.cache.miss.rip, WORLD_CODE);
    assert_int_equal(world.vcpu.cache.miss.gpa.v, A + 8);
    return &world.vcpu.cache.miss;
}

/* The first access finds nothing, the second caches the walks; then an entry is made. */
static void from_the_first_on(void **state)
{
    (void)state;
    const struct mmio_miss *miss = missed();
    assert_int_equal(miss->replay, 0);
    assert_int_equal(miss->known, KNOWN_NO_MOVE);
    assert_int_equal(miss->decoded, DECODED_OTHER_BYTES);
    assert_int_equal(miss->code, WALK_OTHER_PAGE);
    assert_int_equal(miss->data, WALK_OTHER_PAGE);
    warm_up();
    assert_true(store_is_hot());
}

static void modes(void **state)
{
    (void)state;
    warm_up();
    world.regs[REG_CR4] ^= CR4_SMEP;
    const struct mmio_miss *miss = missed();
    assert_int_equal(miss->replay, REPLAY_OTHER_MODE);
    assert_int_equal(miss->known, KNOWN_OTHER_MODE);
    assert_int_equal(miss->decoded, DECODED_SERVES);
    assert_int_equal(miss->code, WALK_OTHER_KEY);
    assert_int_equal(miss->data, WALK_OTHER_KEY);
}

static void address_spaces(void **state)
{
    (void)state;
    warm_up();
    world.regs[REG_CR3] ^= BIT(3); /* another entry, of the same tables */
    const struct mmio_miss *miss = missed();
    assert_int_equal(miss->replay, 0);
    assert_int_equal(miss->known, KNOWN_CODE_WALK);
    assert_int_equal(miss->code, WALK_OTHER_CR3);
    assert_int_equal(miss->data, WALK_OTHER_CR3);
}

static void keys(void **state)
{
    (void)state;
    world.regs[REG_CR4] |= CR4_PKE;
    warm_up();
    world.regs[REG_PKRU] = BIT(7);
    const struct mmio_miss *miss = missed();
    assert_int_equal(miss->replay, REPLAY_OTHER_PKRU);
    assert_int_equal(miss->known, KNOWN_CODE_WALK);
    assert_int_equal(miss->code, WALK_OTHER_PKRU);
}

static void page_tables(void **state)
{
    (void)state;
    warm_up();
    *world_pte(cr3, V) ^= BIT(9);
    const struct mmio_miss *miss = missed();
    assert_int_equal(miss->replay, REPLAY_OTHER_ENTRY);
    assert_int_equal(miss->known, KNOWN_DATA_WALK);
    assert_int_equal(miss->code, WALK_SERVES);
    assert_int_equal(miss->data, WALK_OTHER_ENTRY);
    warm_up();
    *world_pte(cr3, WORLD_CODE) ^= BIT(9);
    miss = missed();
    assert_int_equal(miss->replay, REPLAY_OTHER_ENTRY);
    assert_int_equal(miss->known, KNOWN_CODE_WALK);
    assert_int_equal(miss->code, WALK_OTHER_ENTRY);
}

static void invalidations(void **state)
{
    (void)state;
    warm_up();
    world.mmu.invalidate_sequence += 2;
    (void)missed(); /* the entry follows, since no page has moved */
    warm_up();
    assert_int_equal(mmu_host_remap(&world.mmu, GPA(WORLD_CODE)), 0);
    const struct mmio_miss *miss = &world.vcpu.cache.miss;
    assert_int_equal(world_store(V + 8, 1), WORLD_EMULATED);
    assert_int_equal(miss->replay, REPLAY_OTHER_SEQUENCE);
    assert_int_equal(miss->code, WALK_OTHER_SEQUENCE);
}

/* The bus: the entry's range is looked up again, so that the second fast path makes the access. */
static void devices(void **state)
{
    (void)state;
    warm_up();
    assert_int_equal(bus_remove(&world.bus, B, &world.b), 0);
    const struct mmio_miss *miss = missed();
    assert_int_equal(miss->replay, REPLAY_OTHER_BUS);
    assert_int_equal(miss->known, KNOWN_SERVES);
}

static void bytes(void **state)
{
    (void)state;
    warm_up();
    ((uint8_t *)world_table(WORLD_CODE))[page_offset(WORLD_CODE) + 1] = 0x08; /* MOV [RAX], ECX */
    assert_int_equal(run_code(CODE(0x89, 0x08), A + 8), MMIO_DONE);
    const struct mmio_miss *miss = &world.vcpu.cache.miss;
    assert_int_equal(miss->replay, REPLAY_OTHER_BYTES);
    assert_int_equal(miss->known, KNOWN_CODE_BYTES);
    assert_int_equal(miss->decoded, DECODED_OTHER_BYTES);
}

/* What is no plain move is never replayed. */
static void other_instructions(void **state)
{
    (void)state;
    warm_up();
    world.cpu.gpr[GPR_RAX] = V + 8;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(run_code(CODE(0x09, 0x18), A + 8), MMIO_DONE); /* OR [RAX], EBX */
        assert_int_equal(world.vcpu.cache.miss.known, i ? KNOWN_NO_MOVE : KNOWN_CODE_BYTES);
    }
    assert_int_equal(world.vcpu.cache.miss.decoded, DECODED_SERVES);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, world_end)
    const struct CMUnitTest tests[] = {
        TEST(from_the_first_on),  TEST(modes),         TEST(address_spaces), TEST(keys),
        TEST(page_tables),        TEST(invalidations), TEST(devices),        TEST(bytes),
        TEST(other_instructions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
