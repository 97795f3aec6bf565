/* SPDX-License-Identifier: MIT */
/* Makes the blocks of a picture; see the header. Pure. */
#include "vm/map_dump.h"

#include "arch/x86/export.h"
#include "lib/string.h"
#include "mmu/memslot.h"
#include "vm/counters.h"
#include "vm/vm.h"

#define ROW_MAX 512u /* bytes that a row of a block takes at most */
#define ENTRIES 96u  /* that a piece visits */

_Static_assert(TRACE_VMS < 128, "a number of a VM is one byte of a block");

static bool is_wanted;
static uint32_t pictures;

void map_choose(bool wanted)
{
    is_wanted = wanted;
}

bool map_is_wanted(void)
{
    return is_wanted;
}

void map_begin(struct map_dump *dump, enum map_moment moment, uint64_t time, const char *label)
{
    *dump = (struct map_dump){.number = __atomic_fetch_add(&pictures, 1, __ATOMIC_RELAXED),
                              .stage = MAP_BEGIN,
                              .time = time,
                              .moment = moment};
    for (size_t i = 0; i < MAP_LABEL_MAX && label[i]; i++)
        dump->label[i] = label[i] >= ' ' && label[i] <= '~' ? label[i] : '?';
}

/* ---- A block --------------------------------------------------------------------------------- */

struct block {
    uint8_t bytes[MAP_BLOCK_MAX];
    size_t used;
};

static void put_number(struct block *block, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        block->bytes[block->used++] = (uint8_t)(value | 0x80);
    block->bytes[block->used++] = (uint8_t)value;
}

static void put_text(struct block *block, const char *text)
{
    size_t size = strlen(text);
    put_number(block, size);
    memcpy(block->bytes + block->used, text, size);
    block->used += size;
}

static bool has_room(const struct block *block)
{
    return block->used + ROW_MAX <= sizeof(block->bytes);
}

/* ---- The rows of each kind of block ---------------------------------------------------------- *
 * Each function adds the row of that index, and returns false if there is none. */

static bool put_begin(struct block *block, const struct map_dump *dump, struct vm *vm)
{
    put_number(block, MAP_VERSION);
    put_number(block, vm->number);
    put_text(block, vm->name);
    put_text(block, dump->label);
    put_number(block, dump->moment);
    put_number(block, dump->time);
    put_number(block, memslots_generation(memslots(&vm->mmu)));
    put_number(block, vm->mmu.root_level);
    put_number(block, memslot_gfn_end(&vm->mmu));
    return false;
}

static bool put_class(struct block *block, const struct map_dump *dump, struct vm *vm)
{
    static const struct {
        uint8_t fields;
        const char *name, *meaning;
    } classes[] = {
#define X(name, fields, text, meaning) {fields, text, meaning},
        PICTURE_CLASSES(X)
#undef X
    };
    (void)vm;
    if (dump->index == ARRAY_SIZE(classes))
        return false;
    put_number(block, dump->index);
    put_number(block, classes[dump->index].fields);
    put_text(block, classes[dump->index].name);
    put_text(block, classes[dump->index].meaning);
    return true;
}

static bool put_mark(struct block *block, const struct map_dump *dump, struct vm *vm)
{
    static const char *const marks[] = {
#define X(name, text) text,
        PICTURE_MARKS(X)
#undef X
    };
    (void)vm;
    if (dump->index == ARRAY_SIZE(marks))
        return false;
    put_number(block, dump->index);
    put_text(block, marks[dump->index]);
    return true;
}

static bool put_field(struct block *block, const struct map_dump *dump, struct vm *vm)
{
    (void)vm;
    if (dump->index == picture_field_count)
        return false;
    const struct picture_field *field = &picture_fields[dump->index];
    put_number(block, field->mask);
    put_number(block, field->kinds);
    put_text(block, field->name);
    return true;
}

/* The private memory of a TD is shown only if the TD was made for that. */
static bool is_hidden(const struct vm *vm, unsigned root)
{
    return vm->mmu.roots[root].role & ROLE_MIRROR && vm->words.tdx != TDX_DEBUG;
}

static bool put_root(struct block *block, const struct map_dump *dump, struct vm *vm)
{
    if (dump->index == vm->mmu.root_count)
        return false;
    const struct root *root = &vm->mmu.roots[dump->index];
    put_number(block, dump->index);
    put_number(block, root->bits);
    put_text(block, role_name(root->role));
    put_number(block, !is_hidden(vm, dump->index));
    return true;
}

static bool put_slot(struct block *block, const struct map_dump *dump, struct vm *vm)
{
    const struct memslots *slots = memslots(&vm->mmu);
    if (dump->index >= slots->used)
        return false;
    const struct memslot *slot = &slots->slot[dump->index];
    char text[64];
    snprintf(text, sizeof(text), "%s%s%s%s", slot->flags & MEMSLOT_READONLY ? "read-only " : "",
             slot->flags & MEMSLOT_LOG_DIRTY ? "dirty-logged " : "",
             slot->flags & MEMSLOT_PINNED ? "pinned " : "", slot->tracked ? "write-tracked " : "");
    put_number(block, slot->id);
    put_number(block, slot->base.v);
    put_number(block, slot->backing.pages);
    put_text(block, text);
    return true;
}

/* The caller holds the bus' lock, so the parts of the regions stay as they are. */
static bool put_region(struct block *block, const struct map_dump *dump, struct vm *vm)
{
    const struct bus *bus = &vm->mmio_bus;
    if (dump->index >= bus->piece_count)
        return false;
    const struct bus_piece *piece = &bus->pieces[dump->index];
    put_number(block, piece->first);
    put_number(block, piece->last);
    put_text(block, piece->region.ops->name);
    return true;
}

static bool put_counter(struct block *block, const struct map_dump *dump, struct vm *vm)
{
    const struct mmu_stats stats = mmu_stats(&vm->mmu);
    const struct {
        const char *name;
        uint64_t value;
    } counters[] = {
        {"VM exits", vm_exit_count(vm)},
        {"EPT violations", stats.faults},
        {"MMIO SPTEs created", stats.mmio_spte_created},
        {"MMIO SPTEs found current", stats.mmio_spte_hits},
        {"MMIO SPTEs found stale", stats.mmio_spte_stale},
        {"slot searches", stats.slot_searches},
        {"stores into entries", stats.spte_changes},
        {"large pages split", stats.splits},
        {"tables zapped at once", stats.full_zaps},
        {"INVEPTs", mmu_invept_count(&vm->mmu)},
        {"tables", stats.tables},
    };
    if (dump->index == ARRAY_SIZE(counters))
        return false;
    put_text(block, counters[dump->index].name);
    put_number(block, counters[dump->index].value);
    return true;
}

/* ---- Entries --------------------------------------------------------------------------------- */

struct run {
    struct picture_entry first;
    uint64_t count;
};

/* Is this entry the one behind the run, and does it point to the page behind the run's? */
static bool continues(const struct run *run, const struct picture_entry *next)
{
    const struct picture_entry *first = &run->first;
    if (!run->count || next->class == PICTURE_TABLE || next->class != first->class ||
        next->marks != first->marks || next->root != first->root || next->level != first->level)
        return false;
    uint64_t frames = run->count * ept_frames(first->level);
    return next->gfn.v == first->gfn.v + frames &&
           next->word == first->word + (frames << PAGE_SHIFT);
}

static void put_run(struct block *block, struct run *run)
{
    const struct picture_entry *entry = &run->first;
    if (!run->count)
        return;
    put_number(block, entry->root);
    put_number(block, entry->level);
    put_number(block, entry->class);
    put_number(block, entry->marks);
    put_number(block, entry->gfn.v);
    put_number(block, run->count);
    put_number(block, entry->word);
    run->count = 0;
}

/* Adds the entries of a piece. Returns false if there is no further piece. */
static bool put_entries(struct block *block, struct map_dump *dump, const struct vm *vm)
{
    struct picture_entry entry;
    struct run run = {.count = 0};
    bool more = true;
    for (unsigned i = 0; i < ENTRIES && has_room(block) && more; i++) {
        if (dump->at.root < vm->mmu.root_count && is_hidden(vm, dump->at.root))
            dump->at = (struct picture_at){.root = dump->at.root + 1};
        more = picture_next(&vm->mmu, &dump->at, &entry);
        if (!more || entry.class == PICTURE_EMPTY)
            continue;
        if (!continues(&run, &entry)) {
            put_run(block, &run);
            run.first = entry;
        }
        run.count++;
    }
    put_run(block, &run);
    return more;
}

/* ---- A piece --------------------------------------------------------------------------------- */

static bool (*const rows[])(struct block *, const struct map_dump *, struct vm *) = {
    [MAP_BEGIN] = put_begin,    [MAP_CLASSES] = put_class,    [MAP_MARKS] = put_mark,
    [MAP_FIELDS] = put_field,   [MAP_ROOTS] = put_root,       [MAP_SLOTS] = put_slot,
    [MAP_REGIONS] = put_region, [MAP_COUNTERS] = put_counter,
};

/* Adds rows until the block is full. Returns false if there are no more. */
static bool put_rows(struct block *block, struct map_dump *dump, struct vm *vm)
{
    bool more = true;
    while (more && has_room(block)) {
        more = rows[dump->stage](block, dump, vm);
        dump->index += more;
    }
    return more;
}

/* Fills the block. Returns false if the stage is over. */
static bool fill(struct block *block, struct map_dump *dump, struct vm *vm)
{
    if (dump->stage == MAP_ENTRIES)
        return put_entries(block, dump, vm);
    if (dump->stage != MAP_END)
        return put_rows(block, dump, vm);
    put_number(block, memslots_generation(memslots(&vm->mmu)));
    return false;
}

static enum map_progress refuse(struct map_dump *dump)
{
    if (++dump->refused < MAP_PATIENCE)
        return MAP_REFUSED;
    dump->stage = MAP_END + 1;
    return MAP_OVER;
}

/* A block that was refused is made again from the same state. */
enum map_progress map_piece(struct map_dump *dump, struct vm *vm,
                            bool (*emit)(const void *block, size_t size))
{
    struct block block = {.used = 0};
    struct map_dump next = *dump;
    bool locks = dump->stage == MAP_REGIONS;
    if (locks && !spin_trylock(&vm->mmio_bus.lock))
        return refuse(dump);
    put_number(&block, dump->stage);
    put_number(&block, dump->number);
    put_number(&block, dump->blocks);
    size_t header = block.used;
    bool more = fill(&block, &next, vm);
    if (locks)
        spin_unlock(&vm->mmio_bus.lock);
    if (block.used > header) {
        if (!emit(block.bytes, block.used))
            return refuse(dump);
        next.blocks++;
    }
    next.refused = 0;
    if (!more) {
        next.stage++;
        next.index = 0;
    }
    *dump = next;
    return dump->stage > MAP_END ? MAP_OVER : MAP_MORE;
}

/* ---- The channel ----------------------------------------------------------------------------- */

static bool emit_frame(const void *block, size_t size)
{
    return export_bytes(EXPORT_MAP, block, size);
}

enum map_progress map_export(struct map_dump *dump, struct vm *vm)
{
    enum map_progress progress = map_piece(dump, vm, emit_frame);
    if (progress == MAP_REFUSED)
        (void)export_send();
    return progress;
}

bool map_at_end(struct vm *vm, uint64_t time)
{
    struct map_dump *dump = &vm->vcpu.map;
    if (!map_is_wanted() || vm_ending(vm) == VM_RUNNING)
        return true;
    if (dump->moment != MAP_ENDED)
        map_begin(dump, MAP_ENDED, time, vm_ending_name(vm_ending(vm)));
    if (dump->stage > MAP_END)
        return true; /* the caller is freeing the VM already */
    return map_export(dump, vm) == MAP_OVER;
}
