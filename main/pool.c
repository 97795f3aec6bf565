/* SPDX-License-Identifier: MIT */
#include "main/pool.h"

#include "boot/boot_info.h"
#include "launch/modules.h"
#include "lib/spinlock.h"
#include "lib/string.h"

static struct {
    struct spinlock lock; /* guards all this */
    const struct boot_info *info;
    unsigned next_module, next_number;
    unsigned alive, limit;              /* VMs that exist or are put off, and their maximum */
    unsigned finished;                  /* VMs that have been destroyed */
    struct entry put_off[BOOT_MODULES]; /* guests that wait for memory, oldest first */
    unsigned put_off_count;
    struct entry ended[BOOT_MODULES]; /* by their numbers - 1; run = 0: it has not ended */
} pool;

/* The index of the next module from this one on that is a guest's program. */
static unsigned next_program(unsigned module)
{
    while (module < pool.info->module_count && module_belongs_to_guest(&pool.info->modules[module]))
        module++;
    return module;
}

unsigned pool_begin(const struct boot_info *info, unsigned limit)
{
    unsigned guests = 0;
    pool.info = info;
    pool.limit = limit;
    pool.next_module = next_program(0);
    for (unsigned i = pool.next_module; i < info->module_count; i = next_program(i + 1))
        guests++;
    return guests;
}

/* Takes the guest that has waited for memory longest, if a VM has ended since the last attempt to
 * create it, or if no VM is left that could return memory. While it waits, no later guest is taken,
 * so that it is not starved. The caller holds the lock. */
static bool take_put_off(struct entry *entry)
{
    if (pool.put_off[0].finished == pool.finished && pool.alive > pool.put_off_count)
        return false;
    *entry = pool.put_off[0];
    pool.put_off_count--;
    memmove(&pool.put_off[0], &pool.put_off[1], pool.put_off_count * sizeof(*entry));
    return true;
}

/* Takes the next guest among the modules, if another VM may exist. The caller holds the lock. */
static bool take_next(struct entry *entry)
{
    unsigned module = pool.next_module;
    if (pool.alive >= pool.limit || module == pool.info->module_count)
        return false;
    pool.next_module = next_program(module + 1);
    *entry = (struct entry){.number = ++pool.next_number,
                            .module = module,
                            .extra = pool.next_module - module - 1,
                            .run = 1};
    (void)module_name(&pool.info->modules[module], entry->name);
    pool.alive++;
    return true;
}

bool pool_take(struct entry *entry)
{
    spin_lock(&pool.lock);
    bool found = pool.put_off_count ? take_put_off(entry) : take_next(entry);
    entry->finished = pool.finished;
    entry->last_chance = pool.alive == pool.put_off_count + 1;
    spin_unlock(&pool.lock);
    return found;
}

void pool_put_off(const struct entry *entry)
{
    spin_lock(&pool.lock);
    pool.put_off[pool.put_off_count++] = *entry;
    spin_unlock(&pool.lock);
}

static bool is_empty_locked(void)
{
    return !pool.alive && pool.next_module == pool.info->module_count;
}

bool pool_is_empty(void)
{
    spin_lock(&pool.lock);
    bool empty = is_empty_locked();
    spin_unlock(&pool.lock);
    return empty;
}

bool pool_finish(const struct entry *entry)
{
    spin_lock(&pool.lock);
    pool.ended[entry->number - 1] = *entry;
    pool.alive--;
    pool.finished++;
    bool empty = is_empty_locked();
    spin_unlock(&pool.lock);
    return empty;
}

/* It is put off, but need not wait for a VM to end. The caller holds the lock. */
static void start_again_locked(struct start_answer *answer)
{
    struct entry *ended = &pool.ended[answer->number - 1];
    if (!ended->run) {
        answer->how = answer->number > pool.next_number ? START_NOT_BEGUN : START_EXISTS;
    } else if (pool.alive >= pool.limit) {
        answer->how = START_TOO_MANY;
    } else {
        struct entry *again = &pool.put_off[pool.put_off_count++];
        *again = *ended;
        again->finished = pool.finished - 1;
        again->out = NULL;
        answer->run = ++again->run;
        answer->how = START_BEGINS;
        snprintf(answer->name, sizeof(answer->name), "%s", again->name);
        ended->run = 0;
        pool.alive++;
    }
}

void pool_start_again(const char *which, struct start_answer *answer)
{
    *answer = (struct start_answer){
        .how = START_NO_GUEST, .number = module_find_guest(pool.info, which), .limit = pool.limit};
    if (!answer->number)
        return;
    spin_lock(&pool.lock);
    start_again_locked(answer);
    spin_unlock(&pool.lock);
}
