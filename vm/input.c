/* SPDX-License-Identifier: MIT */
#include "vm/input.h"

#include "arch/x86/power.h"
#include "arch/x86/serial.h"
#include "lib/spinlock.h"
#include "lib/string.h"
#include "vm/transcript.h"
#include "vm/vcpu.h"

#define PERIOD_IDLE 10  /* ms until the next poll if the last one found nothing */
#define PERIOD_BUSY 1   /* ms until the next poll otherwise */
#define POLL_MOST   64u /* bytes that one poll reads at most */

uint64_t input_due = TIME_NEVER;

/* The lock guards all this, and is held while `ready` is called. */
static struct spinlock lock;
static struct input *first;   /* the attached inputs, by number */
static unsigned chosen;       /* number of the VM that somebody at the console has chosen, or 0 */
static struct input *monitor; /* the monitor's; NULL: there is none */
static bool monitored;        /* it has the focus */
static bool always;           /* the port is polled even if nobody has the focus */
static uint8_t escape = INPUT_KEY_NONE;
static bool escaped; /* the last byte was the escape key */

/* What has been typed of a size, as numbers: none, or the columns, or also the rows. */
static struct {
    unsigned numbers;
    uint16_t number[2];
} typed;

static uint32_t window; /* columns, and in the higher half rows; read without the lock */

static void input_set_due(uint64_t due)
{
    __atomic_store_n(&input_due, due, __ATOMIC_RELAXED);
}

void input_set_escape(uint8_t key)
{
    spin_lock(&lock);
    escape = key;
    spin_unlock(&lock);
}

static struct input *input_numbered(unsigned number)
{
    struct input *input = first;
    while (input && input->number != number)
        input = input->next;
    return input;
}

/* A VM that was chosen and starts anew is not attached for a while, and gets the focus again. NULL:
 * nobody has it, and what is typed is dropped, except for commands. */
static struct input *input_focus(void)
{
    struct input *input = monitored ? monitor : input_numbered(chosen);
    return input ? input : first;
}

static bool input_is_polled(void)
{
    return first || monitored || always;
}

void input_attach(struct input *input, unsigned number, const char *name,
                  void (*ready)(void *context), void *context)
{
    struct input **link = &first;
    spin_lock(&lock);
    while (*link && (*link)->number < number)
        link = &(*link)->next;
    *input = (struct input){
        .ready = ready, .context = context, .number = number, .name = name, .next = *link};
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
    if (!input_is_polled())
        input_set_due(TIME_NEVER);
    spin_unlock(&lock);
}

void input_set_monitor(struct input *input, void (*ready)(void *context), void *context,
                       bool at_once)
{
    *input = (struct input){.ready = ready, .context = context, .name = "the monitor"};
    monitor = input;
    monitored = always = at_once;
    if (at_once)
        input_set_due(0);
}

bool input_is_monitored(void)
{
    return __atomic_load_n(&monitored, __ATOMIC_SEQ_CST);
}

/* The caller holds the lock. */
static void input_turn_to_monitor(bool on)
{
    __atomic_store_n(&monitored, on, __ATOMIC_SEQ_CST);
    transcript_show_console(on);
    if (!input_is_polled())
        input_set_due(TIME_NEVER);
}

void input_leave_monitor(void)
{
    spin_lock(&lock);
    if (monitored)
        input_turn_to_monitor(false);
    spin_unlock(&lock);
}

bool input_drop_through(struct input *input, uint8_t byte)
{
    uint32_t put = __atomic_load_n(&input->put, __ATOMIC_ACQUIRE);
    for (uint32_t at = put; at != input->taken; at--) {
        if (input->bytes[(at - 1) % INPUT_RING] != byte)
            continue;
        __atomic_store_n(&input->taken, at, __ATOMIC_RELEASE);
        return true;
    }
    return false;
}

/* ---- The ring -------------------------------------------------------------------------------- */

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

bool input_waits(const struct input *input)
{
    return __atomic_load_n(&input->taken, __ATOMIC_RELAXED) !=
           __atomic_load_n(&input->put, __ATOMIC_ACQUIRE);
}

static bool input_has_room(const struct input *input)
{
    return input->put - __atomic_load_n(&input->taken, __ATOMIC_ACQUIRE) < INPUT_RING;
}

/* Decides whether the VM reads fast enough, and begins to drop its bytes if it does not. */
static void input_watch(struct input *input, uint64_t now, uint64_t ticks_per_ms)
{
    uint32_t taken = __atomic_load_n(&input->taken, __ATOMIC_ACQUIRE);
    if (taken == input->put || taken - input->held_from >= INPUT_RING) {
        input->held_from = taken;
        input->hold_end = now + INPUT_HOLD_MS * ticks_per_ms;
        input->dropping = false;
    } else if (now >= input->hold_end && !input_has_room(input) && !input->dropping) {
        input->dropping = true;
        transcript_line(
            transcript_console(),
            "# console: VM %u does not read its input, so further keys for it are dropped",
            input->number);
    }
}

static void input_put(struct input *input, uint8_t byte)
{
    if (!input_has_room(input))
        return;
    input->bytes[input->put % INPUT_RING] = byte;
    __atomic_store_n(&input->put, input->put + 1, __ATOMIC_RELEASE);
}

/* ---- Commands -------------------------------------------------------------------------------- */

static void input_list(void)
{
    transcript_line(
        transcript_console(),
        "# console: after ^%c, 1 to 9 or n turns to a VM, m to the monitor, x ends the machine, "
        "w80x24 and Return says how large the window is, ^%c is ^%c",
        escape + '@', escape + '@', escape + '@');
    for (const struct input *input = first; input; input = input->next)
        transcript_line(transcript_console(), "# console: VM %u %s%s", input->number, input->name,
                        input == input_focus() ? ", which has the input" : "");
    if (monitored)
        transcript_line(transcript_console(), "# console: the monitor has the input");
}

static void input_choose(struct input *input)
{
    __atomic_store_n(&monitored, false, __ATOMIC_SEQ_CST);
    chosen = input->number;
    transcript_show(input->number);
}

/* The next VM after the one that has the focus, or the first one; NULL: there is none. */
static struct input *input_next(void)
{
    struct input *input = monitored ? NULL : input_focus();
    return input && input->next ? input->next : first;
}

struct input_window input_window(void)
{
    uint32_t now = __atomic_load_n(&window, __ATOMIC_RELAXED);
    return (struct input_window){(uint16_t)now, (uint16_t)(now >> 16)};
}

static void input_resize(uint16_t columns, uint16_t rows)
{
    __atomic_store_n(&window, columns | (uint32_t)rows << 16, __ATOMIC_RELAXED);
    for (const struct input *input = first; input; input = input->next)
        input->ready(input->context);
}

static void input_begin_size(void)
{
    typed.numbers = 1;
    typed.number[0] = 0;
}

/* Takes a byte of the window's size, `80x24` and Return. Anything else ends the command. */
static void input_take_size(uint8_t byte)
{
    uint16_t *number = &typed.number[typed.numbers - 1];
    bool whole = typed.numbers == 2 && typed.number[0] && typed.number[1];
    if (byte >= '0' && byte <= '9' && *number < 1000) {
        *number = (uint16_t)(*number * 10 + (byte - '0'));
        return;
    }
    if (byte == 'x' && typed.numbers == 1) {
        typed.number[typed.numbers++] = 0;
        return;
    }
    typed.numbers = 0;
    if (whole && (byte == '\r' || byte == '\n'))
        input_resize(typed.number[0], typed.number[1]);
    else
        transcript_line(transcript_console(),
                        "# console: w takes the size of the window, as in w80x24, and Return");
}

/* Obeys the key that follows the escape key. */
static void input_command(uint8_t key)
{
    struct input *numbered = input_numbered((unsigned)key - '0');
    if (key == 'x')
        machine_exit(EXIT_STOPPED);
    else if (key == 'n' && first)
        input_choose(input_next());
    else if (key == 'm' && monitor)
        input_turn_to_monitor(true);
    else if (key == 'w')
        input_begin_size();
    else if (key >= '1' && key <= '9' && numbered)
        input_choose(numbered);
    else
        input_list();
}

/* Returns true if the byte was a part of a command. */
static bool input_escapes(uint8_t byte)
{
    if (typed.numbers) {
        input_take_size(byte);
        return true;
    }
    bool was_escaped = escaped;
    escaped = !escaped && byte == escape && escape != INPUT_KEY_NONE;
    if (was_escaped && byte != escape)
        input_command(byte);
    return escaped || (was_escaped && byte != escape);
}

/* ---- The port -------------------------------------------------------------------------------- */

/* Reads bytes from the port, and returns their number. Stops after a byte that is part of a
 * command, because a command may move the focus, which is on `input` (NULL: on nobody). */
static unsigned input_read(struct input *input)
{
    unsigned count = 0;
    int byte;
    while (count < POLL_MOST && (!input || input->dropping || input_has_room(input)) &&
           (byte = serial_read()) >= 0) {
        count++;
        if (input_escapes((uint8_t)byte))
            break;
        if (input)
            input_put(input, (uint8_t)byte);
    }
    return count;
}

/* If another CPU holds the lock, it is polling the port, so this one does nothing. */
void input_poll(uint64_t now, uint64_t ticks_per_ms)
{
    if (!spin_trylock(&lock))
        return;
    struct input *input = input_focus();
    if (input_is_polled() && now >= input_due) {
        uint32_t put = input ? input->put : 0;
        if (input && input != monitor) /* the monitor reads when it has answered */
            input_watch(input, now, ticks_per_ms);
        unsigned count = input_read(input);
        input_set_due(now + (count ? PERIOD_BUSY : PERIOD_IDLE) * ticks_per_ms);
        if (input && input != monitor && input->put != put)
            input->ready(input->context);
        if (count && (monitored || input == monitor)) /* also if a key has moved the focus */
            monitor->ready(monitor->context);
    }
    spin_unlock(&lock);
}
