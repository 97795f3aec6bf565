/* SPDX-License-Identifier: MIT */
/*
 * A malicious VMM: the whole interface of the secure side, driven by libFuzzer, for two TDs at
 * once. An input is a sequence of calls with any operands: those of ept/secure.h, blocks that enter
 * and leave the map of owners, debts of host mappings that are paid or not, and the guests' CPUs,
 * which keep every translation until they flush. After each call that succeeds, no CPU in a guest
 * reaches what is not its TD's; what leaves the map of owners holds nothing that a guest wrote; at
 * the end of an input each frame has one owner (rules X12 to X16). The inputs of tests/fuzz/secure
 * are the usual ways of a page.
 */
#include "tests/unit/ept/secure_world.h"

#include "lib/host_tlb.h"

#define TDS    2u
#define END    (3 * EPT_ENTRIES) /* of the guests' frames */
#define SECRET 0x5ec2e75ec2e75ec2ull

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct world_td world[TDS];
static const uint8_t *next, *end_of_input;
static bool written[POOL_FRAMES]; /* by a guest, or for it, in this input */

static uint32_t take(unsigned bytes)
{
    uint32_t word = 0;
    while (bytes--)
        word = word << 8 | (next < end_of_input ? *next++ : 0);
    return word;
}

/* Mostly one of a few frames of each block; sometimes any address. */
static hpa_t take_page(void)
{
    static const uint16_t inside[] = {0, 1, 2, 3, 4, 5, 511, 256};
    uint32_t kind = take(1);
    if (kind == 0xff)
        return HPA((uint64_t)take(4) << 32 | take(4));
    if (kind == 0xfe)
        return HPA(POOL_BASE + take(4));
    return page_at(kind / 8 % (POOL_PIECES + 1) * EPT_ENTRIES + inside[kind % 8]);
}

static gfn_t take_gfn(void)
{
    static const uint16_t inside[] = {0, 0, 1, 511};
    uint32_t kind = take(1);
    return GFN(kind == 0xff ? take(4) : kind / 4 % 4 * EPT_ENTRIES + inside[kind % 4]);
}

static uint64_t create(struct world_td *w, hpa_t root)
{
    if (w->td.owned)
        return 1;
    return world_create(w, EPT_LEVEL_2M, END, root);
}

static void check_secrets(hpa_t block)
{
    for (unsigned i = 0; i < EPT_ENTRIES; i++)
        for (unsigned word = 0; word < EPT_ENTRIES; word++)
            assert_int_not_equal(world_memory[frame_at(block) + i][word], SECRET);
}

static void exchange_block(void)
{
    struct secure_frame *frames;
    unsigned piece = take(1) % POOL_PIECES;
    hpa_t block = page_at(piece * EPT_ENTRIES);
    switch (take(1) % 4) {
    case 0:
        if (!secure_block_remove(&world_map, block, &world_host, &world[0], &frames)) {
            check_secrets(block);
            world_hidden[piece] = take(1) & 1;
        }
        break;
    case 1:
        if (!world_add(piece)) {
            assert_true(world_hidden[piece]);
            for (unsigned cpu = 0; cpu < GUEST_CPUS; cpu++)
                assert_true(host_tlb_cpus[cpu].paid >= host_tlb_debt);
        }
        break;
    case 2:
        (void)host_tlb_owe();
        if (!world_map.blocks[block.v / SECURE_BLOCK_SIZE].frames)
            world_hidden[piece] = true;
        break;
    default:
        (void)host_tlb_pay(take(1) % GUEST_CPUS);
    }
}

static void run_guest(struct world_td *w)
{
    struct guest_cpu *cpu = &w->cpu[take(1) % GUEST_CPUS];
    gfn_t gfn = take_gfn();
    if (!w->td.owned || w->td.life != SECURE_FINALISED || gfn.v >= END || !(take(1) % 3)) {
        cpu->inside = false;
        return;
    }
    if (!cpu->inside)
        cpu_enter(w, cpu);
    uint64_t *word = cpu_walk(w, cpu, gfn);
    if (!word)
        return;
    written[(word - world_memory[0]) / EPT_ENTRIES] = true;
    word[take(1)] = SECRET;
}

static uint64_t private_bytes(struct secure_td *td)
{
    static uint8_t bytes[PAGE_SIZE];
    gfn_t gfn = take_gfn();
    unsigned offset = take(2), size = take(2) % sizeof(bytes);
    return take(1) & 1 ? secure_read_private(td, gfn, offset, bytes, size)
                       : secure_write_private(td, gfn, offset, bytes, size);
}

static uint64_t call(struct world_td *w)
{
    static const uint64_t source[EPT_ENTRIES] = {SECRET};
    struct secure_td *td = &w->td;
    uint32_t what = take(1);
    unsigned level = what & 0x80 ? EPT_LEVEL_2M : what & 0x40 ? take(1) : EPT_LEVEL_4K;
    enum secure_state state;
    hpa_t page;
    switch (what % 32) {
    case 0:
        return secure_td_finalise(td);
    case 1:
        return secure_td_stop(td);
    case 2:
    case 3:
        return secure_page_reclaim(td, take_page());
    case 4:
    case 5:
        return secure_table_add(td, take_gfn(), EPT_LEVEL_2M + (what >> 5 & 1), take_page());
    case 6:
    case 7: {
        gfn_t gfn = take_gfn();
        page = take_page();
        uint64_t status = secure_page_add(td, gfn, page, source);
        if (!status)
            written[frame_at(page)] = true;
        return status;
    }
    case 8:
    case 9:
    case 10:
    case 11:
        return secure_page_aug(td, take_gfn(), level, take_page());
    case 12:
    case 13:
        return secure_page_accept(td, take_gfn(), level);
    case 14:
    case 15:
        return secure_range_block(td, take_gfn(), level);
    case 16:
    case 17:
        return secure_track(td);
    case 18:
    case 19:
        return secure_page_remove(td, take_gfn(), level);
    case 20:
        return secure_page_demote(td, take_gfn(), take_page());
    case 21:
        return secure_table_remove(td, take_gfn(), EPT_LEVEL_2M + (what >> 5 & 1));
    case 22:
        return secure_read(td, take_gfn(), level, &page, &state);
    case 23:
    case 24:
        return private_bytes(td);
    case 25:
    case 26:
        exchange_block();
        return 0;
    default:
        run_guest(w);
        return 0;
    }
}

/* No CPU that is inside a guest reaches what the guest's TD does not own. */
static void check_reach(void)
{
    for (unsigned t = 0; t < TDS; t++)
        for (unsigned c = 0; c < GUEST_CPUS; c++)
            for (unsigned i = 0; world[t].cpu[c].inside && i < POOL_FRAMES; i++) {
                const struct secure_frame *f = &world_frames[i],
                                          *first = &world_frames[i / EPT_ENTRIES * EPT_ENTRIES];
                if (world[t].cpu[c].reach[i])
                    assert_true(f->owner == &world[t].td ||
                                (first->owner == &world[t].td && is_large(first)));
            }
}

static void begin(void)
{
    memset(world, 0, sizeof(world));
    support_hidden = world_is_hidden;
    for (unsigned cpu = 0; cpu < GUEST_CPUS; cpu++) {
        host_tlb_join(cpu);
        (void)host_tlb_pay(cpu);
    }
    world_reset_map();
    for (unsigned i = 0; i < POOL_FRAMES; i++)
        if (written[i])
            memset(world_memory[i], 0xee, PAGE_SIZE);
    memset(written, 0, sizeof(written));
    for (unsigned t = 0; t < TDS; t++) { /* each begins with a table */
        (void)!create(&world[t], page_at(t * EPT_ENTRIES));
        (void)!secure_table_add(&world[t].td, GFN(0), EPT_LEVEL_2M, page_at(t * EPT_ENTRIES + 1));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    next = data;
    end_of_input = data + size;
    begin();
    while (next < end_of_input) {
        struct world_td *w = &world[take(1) % TDS];
        if (!w->td.host || (w->td.life == SECURE_STOPPED && !w->td.owned))
            (void)!create(w, take_page());
        else if (!call(w))
            check_reach();
    }
    check_world(world, TDS);
    return 0;
}
