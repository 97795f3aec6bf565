/* SPDX-License-Identifier: MIT */
#include "vm/input.h"

#include "arch/x86/serial.h"
#include "lib/spinlock.h"
#include "vm/vcpu.h"

#define PERIOD_IDLE 10  /* ms until the next poll if the last one found nothing */
#define PERIOD_BUSY 1   /* ms until the next poll otherwise */
#define POLL_MOST   64u /* bytes that one poll reads at most */

uint64_t input_due = TIME_NEVER;

static struct spinlock lock; /* guards the list, and is held while `ready` is called */
static struct input *first;  /* the attached inputs; the first one has the focus */

static void input_set_due(uint64_t due)
{
    __atomic_store_n(&input_due, due, __ATOMIC_RELAXED);
}

void input_attach(struct input *input, void (*ready)(void *context), void *context)
{
    struct input **link = &first;
    spin_lock(&lock);
    while (*link)
        link = &(*link)->next;
    *input = (struct input){.ready = ready, .context = context};
    *link = input;
    input_set_due(0);
    spin_unlock(&lock);
}

void input_detach(struct input *input)
{
    struct input **link = &first;
    spin_lock(&lock);
    while (*link && *link != input)
        link = &(*link)->next;
    if (*link) {
        *link = input->next;
        input->ready = NULL;
    }
    if (!first)
        input_set_due(TIME_NEVER);
    spin_unlock(&lock);
}

int input_take(void *ring)
{
    struct input *input = ring;
    uint32_t taken = input->taken;
    if (taken == __atomic_load_n(&input->put, __ATOMIC_ACQUIRE))
        return -1;
    uint8_t byte = input->bytes[taken % INPUT_RING];
    __atomic_store_n(&input->taken, taken + 1, __ATOMIC_RELEASE);
    return byte;
}

static bool input_has_room(const struct input *input)
{
    return input->put - __atomic_load_n(&input->taken, __ATOMIC_ACQUIRE) < INPUT_RING;
}

/* Moves bytes from the port to the ring, and returns their number. */
static unsigned input_fill(struct input *input)
{
    unsigned count = 0;
    int byte;
    while (count < POLL_MOST && input_has_room(input) && (byte = serial_read()) >= 0) {
        input->bytes[input->put % INPUT_RING] = (uint8_t)byte;
        __atomic_store_n(&input->put, input->put + 1, __ATOMIC_RELEASE);
        count++;
    }
    return count;
}

/* If another CPU holds the lock, it is polling the port, so this one does nothing. */
void input_poll(uint64_t now, uint64_t ticks_per_ms)
{
    if (!spin_trylock(&lock))
        return;
    if (first && now >= input_due) {
        unsigned count = input_fill(first);
        if (count)
            first->ready(first->context);
        input_set_due(now + (count ? PERIOD_BUSY : PERIOD_IDLE) * ticks_per_ms);
    }
    spin_unlock(&lock);
}
