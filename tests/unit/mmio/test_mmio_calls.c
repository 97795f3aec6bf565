/* SPDX-License-Identifier: MIT */
/*
 * The MMIO path's calls of the MMU, seen at the border: none on the path of a repeated access, and
 * answers that a CPU alone does not get. The linker's --wrap puts this file between mmio/ and
 * the functions below; each goes on to the real one.
 */
#include "tests/unit/mmio/mmio_places.h"

#include <string.h>

static unsigned calls;
static unsigned races;       /* how many exchanges to come another CPU disturbs */
static uint8_t new_opcode;   /* what another CPU puts at WORLD_CODE, if not 0 */
static bool page_hides;      /* every page goes away right after it was read */
static bool write_protected; /* every page that a slot backs is tracked */

int __real_mmu_mmio_check(struct mmu *mmu, gpa_t gpa, struct mmio_info *info);
int __wrap_mmu_mmio_check(struct mmu *mmu, gpa_t gpa, struct mmio_info *info);
int __wrap_mmu_mmio_check(struct mmu *mmu, gpa_t gpa, struct mmio_info *info)
{
    calls++;
    return __real_mmu_mmio_check(mmu, gpa, info);
}

/* Another CPU writes code, just before we read it. */
int __real_guest_read(struct mmu *mmu, gpa_t gpa, void *buffer, size_t size,
                      enum mmu_access access);
int __wrap_guest_read(struct mmu *mmu, gpa_t gpa, void *buffer, size_t size,
                      enum mmu_access access);
int __wrap_guest_read(struct mmu *mmu, gpa_t gpa, void *buffer, size_t size, enum mmu_access access)
{
    calls++;
    if (new_opcode && access == ACCESS_FETCH)
        world_ram[WORLD_CODE / PAGE_SIZE][0] = new_opcode;
    return __real_guest_read(mmu, gpa, buffer, size, access);
}

/* Another CPU deletes the slot and adds it again. */
const void *__real_guest_page(struct mmu *mmu, gpa_t gpa, enum mmu_access access);
const void *__wrap_guest_page(struct mmu *mmu, gpa_t gpa, enum mmu_access access);
const void *__wrap_guest_page(struct mmu *mmu, gpa_t gpa, enum mmu_access access)
{
    calls++;
    return page_hides ? NULL : __real_guest_page(mmu, gpa, access);
}

/* Another CPU changes a bit of the entry that nobody looks at, just before us. */
int __real_guest_cmpxchg(struct mmu *mmu, gpa_t gpa, size_t size, uint64_t old, uint64_t new);
int __wrap_guest_cmpxchg(struct mmu *mmu, gpa_t gpa, size_t size, uint64_t old, uint64_t new);
int __wrap_guest_cmpxchg(struct mmu *mmu, gpa_t gpa, size_t size, uint64_t old, uint64_t new)
{
    calls++;
    if (races) {
        races--;
        world_page(gpa.v)[page_offset(gpa.v) + 1] ^= 2;
    }
    return __real_guest_cmpxchg(mmu, gpa, size, old, new);
}

/* The MMU tracks no pages yet; this is what it will say of a write to one. */
int __real_mmu_fault(struct mmu *mmu, gpa_t gpa, uint32_t error_code, struct mmio_info *info);
int __wrap_mmu_fault(struct mmu *mmu, gpa_t gpa, uint32_t error_code, struct mmio_info *info);
int __wrap_mmu_fault(struct mmu *mmu, gpa_t gpa, uint32_t error_code, struct mmio_info *info)
{
    calls++;
    int result = __real_mmu_fault(mmu, gpa, error_code, info);
    bool backed = result == FAULT_FIXED || result == FAULT_SPURIOUS;
    return write_protected && backed && error_code & ACCESS_WRITE ? FAULT_WRITE_PROTECTED : result;
}

static int setup(void **state)
{
    (void)state;
    races = new_opcode = 0;
    page_hides = write_protected = false;
    world_init(GVA_CACHE_VERIFY);
    world_map(world.regs[REG_CR3], V, A, KERNEL);
    return 0;
}

static void forget_accesses(void)
{
    for (unsigned i = 0; i < MMIO_REPLAYS; i++)
        world.vcpu.replays.entry[i].rip = REPLAY_NONE;
}

/* The flat 64-bit kernel case reads few registers, each once, and asks the MMU nothing; those that
 * the exit handler has read itself not at all. */
static void fast_path(void **state)
{
    (void)state;
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
    forget_accesses();
    memset(world.reg_reads, 0, sizeof(world.reg_reads));
    calls = 0;
    assert_int_equal(world_exit(V, A, true), MMIO_DONE);
    unsigned total = 0;
    for (unsigned i = 0; i < REG_COUNT; i++) {
        assert_true(world.reg_reads[i] <= 1);
        total += world.reg_reads[i];
    }
    assert_int_equal(total, 4); /* RIP RFLAGS CR3 CS */
    assert_int_equal(world.known, 1);
    assert_int_equal(calls, 0);
    memset(world.reg_reads, 0, sizeof(world.reg_reads));
    assert_int_equal(world_exit(V, A, true), MMIO_DONE);
    for (unsigned i = 0; i < REG_COUNT; i++)
        assert_int_equal(world.reg_reads[i], 0);
    assert_int_equal(world.replay, 1);
    assert_int_equal(calls, 0);

    world_slot_add(0xe0000000, 1, 0); /* a new generation: the MMU is asked again, */
    calls = 0;
    assert_int_equal(world_exit(V, A, true), MMIO_DONE);
    assert_true(calls > 0);
    calls = 0;
    assert_int_equal(world_exit(V, A, true), MMIO_DONE);
    assert_int_equal(calls, 0); /* once */
}

/* A lost exchange is tried again, not for ever, and with what the other CPU left. */
static void lost_exchanges(void **state)
{
    (void)state;
    static const struct walk_limits limits = {40, true};
    struct walk_context context;
    struct walk w;
    uint64_t gva = 0x70000000, *pte = world_pte(world.regs[REG_CR3], gva);
    walk_context_load(&context, &world.cpu, &world.mmu);
#define WALK(access) walk(&world.mmu, &world.cpu, &limits, &context, GVA(gva), access, &w)
    *pte = 0x9000 | PTE_P;
    races = 3;
    assert_int_equal(WALK(0), WALK_OK);
    assert_int_equal(races, 0);
    assert_true(*pte & PTE_A);
    *pte = 0x9000 | KERNEL;
    races = 7;
    assert_int_equal(WALK(KEY_WRITE), WALK_OK); /* the eighth try */
    assert_int_equal(*pte, 0x9000 | KERNEL | PTE_A | PTE_D | BIT(9));
    *pte = 0x9000 | KERNEL;
    races = 1000;
    assert_int_equal(WALK(KEY_WRITE), WALK_RETRY);
    assert_int_equal(races, 1000 - 8);
    assert_int_equal(*pte, 0x9000 | KERNEL);
}

/* Other CPUs that keep changing the tables cost the guest a new try, not its life. */
static void lost_races_reenter(void **state)
{
    (void)state;
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
    world_map(world.regs[REG_CR3], V, A, KERNEL); /* A and D clear again */
    races = 100;
    assert_int_equal(world_exit(V, A, true), MMIO_REENTER);
    assert_int_equal(world.a.writes, 1);
    assert_int_equal(world.regs[REG_RIP], WORLD_CODE);
    races = 0;
    assert_int_equal(world_exit(V, A, true), MMIO_DONE);
}

/* D6: a walk through a page that can't be read again is good once and not kept. */
static void nowhere_to_read_again(void **state)
{
    (void)state;
    page_hides = true;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(world_store(V, i), WORLD_EMULATED);
    page_hides = false;
    assert_int_equal(world_store(V, 3), WORLD_EMULATED);
    assert_int_equal(world.vcpu.cache.gva_hits, 0);
    assert_int_equal(world_store(V, 4), WORLD_EMULATED);
    assert_int_equal(world.vcpu.cache.gva_hits, 1);
    assert_int_equal(world.a.writes, 5);
}

/* D6: an instruction decoded from other bytes than those that it would be kept under. */
static void code_changes_while_read(void **state)
{
    (void)state;
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
    forget_accesses();
    mmio_decoded_at(&world.vcpu.cache, WORLD_CODE)->insn.code = DECODED_EMPTY;
    mmio_decoded_at(&world.vcpu.cache, WORLD_CODE)->move.length = 0;
    new_opcode = 0x88; /* a byte */
    assert_int_equal(world_exit(V, A, true), MMIO_DONE);
    assert_int_equal(world.a.last_size, 1);
    new_opcode = 0;
    assert_int_equal(world_exit(V, A, true), MMIO_DONE);
    assert_int_equal(world.a.last_size, 4);
}

/* F6: a write to a tracked page reaches the page and is never MMIO. What the CPU itself writes, a
 * frame in delivery or a bit in a page table, is left to the CPU. */
static void write_protected_page(void **state)
{
    (void)state;
    world_map(world.regs[REG_CR3], V, 0x7000, KERNEL);
    world_code("\x89\x18", 2);
    world.cpu.gpr[GPR_RAX] = V;
    world.cpu.gpr[GPR_RBX] = 0x99;
    write_protected = true;
    uint32_t access = ACCESS_WRITE | FAULT_PRESENT | FAULT_FINAL;
    uint32_t table = ACCESS_WRITE | FAULT_PRESENT;
    assert_int_equal(mmio_violation(&world.vcpu, GPA(0x7000), access, true), MMIO_PASS);
    assert_int_equal(mmio_violation(&world.vcpu, GPA(0x7000), table, false), MMIO_PASS);
    assert_int_equal(world_ram[7][0], 0);
    assert_int_equal(mmio_violation(&world.vcpu, GPA(0x7000), access, false), MMIO_DONE);
    assert_int_equal(world_ram[7][0], 0x99);
    assert_int_equal(world.bus.unclaimed, 0);
    assert_false(mmio_cache_hit(&world.vcpu.cache, GPA(0x7000), mmu_slot_generation(&world.mmu)));
}

/* A locked access to a tracked page works on what other CPUs left, and gives way in the end. */
static void locked_races(void **state)
{
    (void)state;
    world_map(world.regs[REG_CR3], V, 0x7000, KERNEL);
    world_code("\xf0\x01\x18", 3); /* lock add [rax], ebx */
    world.cpu.gpr[GPR_RAX] = V;
    world.cpu.gpr[GPR_RBX] = 1;
    write_protected = true;
    uint32_t access = ACCESS_WRITE | FAULT_PRESENT | FAULT_FINAL;
    (void)world_load(V, &(uint32_t){0}); /* A and D are set by now: no exchange but ours */
    (void)world_store(V, 0);
    world_code("\xf0\x01\x18", 3);
    world.cpu.gpr[GPR_RAX] = V;
    world.cpu.gpr[GPR_RBX] = 1;
    memset(world_ram[7], 0, 16);
    races = 3; /* each changes bit 9 */
    assert_int_equal(mmio_violation(&world.vcpu, GPA(0x7000), access, false), MMIO_DONE);
    assert_int_equal(races, 0);
    assert_memory_equal(world_ram[7], "\x01\x02\0\0\0", 5);
    races = 1000;
    world.regs[REG_RIP] = WORLD_CODE;
    assert_int_equal(mmio_violation(&world.vcpu, GPA(0x7000), access, false), MMIO_REENTER);
    assert_int_equal(world.regs[REG_RIP], WORLD_CODE);
    assert_int_equal(world_ram[7][0], 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, world_end)
    const struct CMUnitTest tests[] = {
        T(fast_path),
        T(lost_exchanges),
        T(lost_races_reenter),
        T(nowhere_to_read_again),
        T(code_changes_while_read),
        T(write_protected_page),
        T(locked_races),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
