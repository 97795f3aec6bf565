/* SPDX-License-Identifier: MIT */
/* The dialogue: keys become calls, and their answers are shown as fast as the console prints. */
#include "monitor/monitor.h"

#include "arch/x86/tsc.h"
#include "arch/x86/unprivileged.h"
#include "lib/compiler.h"
#include "lib/string.h"
#include "monitor/command.h"
#include "monitor/complete.h"
#include "monitor/editor.h"
#include "monitor/start.h"
#include "vm/input.h"
#include "vm/sched.h"
#include "vm/transcript.h"
#include "vm/vcpu.h"
#include "vm/watch.h"
#include "vm/work.h"

#define CTRL_C       3u
#define PRINTS       8u /* pieces of text that a piece of work prints */
#define ECHO_AT_ONCE 200u

static struct input input;

/* Used by the pCPU that has `work` in its list. */
static struct editor editor;
static struct monitor_call call;
static struct completion completion;
static bool answering; /* a call is in progress */
static bool shown;     /* what the call has said is shown, or waits in `rest` */
static bool greeted;   /* the prompt has been shown since the monitor got the console */
static struct {
    const char *text;
    size_t size;
} rest; /* what is still to be shown, of the editor's text or of the call's */

/* ---- When it works --------------------------------------------------------------------------- */

static bool monitor_piece(struct work *unused);
static struct work work = {.piece = monitor_piece};
static uint32_t working; /* `work` is in some pCPU's list; atomic */
static uint64_t again;   /* TSC: when to look again, though no key has come; atomic */

static uint64_t monitor_look(uint64_t now)
{
    uint64_t at = __atomic_load_n(&again, __ATOMIC_SEQ_CST);
    if (now < at)
        return at;
    __atomic_store_n(&again, TIME_NEVER, __ATOMIC_SEQ_CST);
    if (!__atomic_exchange_n(&working, 1, __ATOMIC_SEQ_CST))
        work_add_first(&work);
    return TIME_NEVER;
}

static struct watch watch = {.look = monitor_look};

static void monitor_wake(uint64_t when)
{
    __atomic_store_n(&again, when, __ATOMIC_SEQ_CST);
    watch_soon(&watch);
}

static void monitor_ready(void *context)
{
    (void)context;
    monitor_wake(0);
}

/* ---- What it shows --------------------------------------------------------------------------- */

/* Adds as much of the rest as there is room for. Returns true if nothing is left. */
static bool monitor_shows(void)
{
    while (rest.size) {
        size_t size = rest.size < ECHO_AT_ONCE ? rest.size : ECHO_AT_ONCE;
        if (!transcript_echo(rest.text, size))
            return false;
        rest.text += size;
        rest.size -= size;
    }
    return true;
}

static bool console_has_text(void)
{
    return __atomic_load_n(transcript_notices, __ATOMIC_RELAXED);
}

static void monitor_prints(void)
{
    for (unsigned i = 0; i < PRINTS && console_has_text(); i++)
        (void)transcript_print();
}

static void show_editor(void)
{
    rest.text = editor.shown;
    rest.size = editor.shows;
    editor.shows = 0;
}

/* ---- What it does ---------------------------------------------------------------------------- */

static void monitor_prompts(void)
{
    if (input_is_monitored())
        editor_prompt(&editor);
    show_editor();
}

/* Executes a piece of the call, after what it has said before has been shown. While it waits for a
 * visit, the text is the visitor's. */
static void monitor_answers(void)
{
    if (input_drop_through(&input, CTRL_C))
        call.abandoned = true;
    if (shown)
        call.said = 0;
    answering = monitor_call_piece(&call);
    shown = !call.waits;
    if (shown) {
        rest.text = call.text;
        rest.size = call.said;
    }
}

static void monitor_takes(uint8_t key)
{
    enum editor_event event = editor_key(&editor, key);
    switch (event) {
    case EDITOR_LINE:
    case EDITOR_END:
        monitor_call_begin(&call, event == EDITOR_END ? "quit" : editor.line);
        answering = true;
        shown = false;
        break;
    case EDITOR_TAB:
        completion_begin(&completion, editor.line, editor_word(&editor));
        editor_complete(&editor, completion_word, &completion);
        break;
    case EDITOR_NOTHING:
        break;
    }
    show_editor();
}

/* CPUs that are idle have not left their loops while the monitor was open. */
static void monitor_closes(void)
{
    call.leaves = false;
    input_leave_monitor();
    sched_wake_all();
}

/* Does the next thing that there is to do. Returns false if there is nothing. */
static bool monitor_acts(void)
{
    int key;
    if (answering) {
        monitor_answers();
        greeted &= answering;
        return !call.waits;
    }
    if (call.leaves) {
        monitor_closes();
        return true;
    }
    bool open = input_is_monitored();
    if (open != greeted) {
        greeted = open;
        if (open)
            monitor_prompts();
        return true;
    }
    if ((key = input_take(&input)) < 0)
        return false;
    monitor_takes((uint8_t)key);
    return true;
}

/* Is there something to do that has called nobody, because it came before `working` was cleared? */
static bool monitor_has_more(void)
{
    return !answering && (input_waits(&input) || input_is_monitored() != greeted);
}

/* A piece of work. The text of a piece is shown before the next one begins, because it is kept in
 * the call. Whoever waits for something looks again after a millisecond. */
static bool monitor_piece(struct work *unused)
{
    (void)unused;
    monitor_prints();
    if (!monitor_shows() || monitor_acts() || console_has_text())
        return true;
    if (answering)
        monitor_wake(rdtsc() + tsc_khz());
    __atomic_store_n(&working, 0, __ATOMIC_SEQ_CST);
    return monitor_has_more() && !__atomic_exchange_n(&working, 1, __ATOMIC_SEQ_CST);
}

/* ---- The machine's side ---------------------------------------------------------------------- */

void monitor_start(bool at_once)
{
    __atomic_store_n(&again, TIME_NEVER, __ATOMIC_SEQ_CST);
    if (at_once)
        monitor_holds_new();
    watch_add(&watch);
    input_set_monitor(&input, monitor_ready, NULL, at_once);
    if (at_once) {
        transcript_show_console(true);
        monitor_wake(0);
    }
}

bool monitor_is_open(void)
{
    return input_is_monitored();
}
