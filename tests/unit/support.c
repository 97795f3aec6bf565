/* SPDX-License-Identifier: MIT */
#include "tests/unit/support.h"

#include "lib/assert.h"
#include "lib/cpu_local.h"
#include "lib/host_tlb.h"
#include "lib/log.h"

#include "lib/spinlock.h"
#include "mmu/mmu.h"

#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define ORDERS 19

static char *arena;
static uint8_t owner_order[SUPPORT_RAM_PAGES]; /* order + 1 at the first page of a live block */
static uint8_t is_used[SUPPORT_RAM_PAGES];     /* 1 for each page of a live block */
static uint64_t free_list[ORDERS][SUPPORT_RAM_PAGES / 64];
static uint64_t free_count[ORDERS];
static uint64_t next_page;
static uint64_t kept_from = SUPPORT_RAM_PAGES; /* pages that were allocated for ever */
static uint64_t in_use;
static uint64_t allocations_left, allocations_failed;
static bool fail_only_one;
static char log_text_kept[1 << 20];
static size_t log_length;
static bool (*diverted)(enum log_level level, const char *line);
static unsigned warnings;
void (*support_free_hook)(hpa_t page, unsigned order);
bool (*support_pauses)(void);
bool support_hides = true;
bool (*support_hidden)(hpa_t page);
void (*support_host_flush)(void);
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* tests may have threads */

/* Memory that is private to a TD. */
#define BLOCK_PAGES  512u
#define WINDOWS_OPEN 2u /* of each thread: the pointers that are valid */

static uint8_t is_hidden[SUPPORT_RAM_PAGES / BLOCK_PAGES];
static uint8_t windows[SUPPORT_RAM_PAGES]; /* how many windows are open onto the page */
static _Thread_local uint64_t open_windows[WINDOWS_OPEN];
static _Thread_local unsigned next_window;

void support_reset(void)
{
    if (!arena) {
        arena = mmap(NULL, SUPPORT_RAM_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        assert_ptr_not_equal(arena, MAP_FAILED);
        direct_map = (uint64_t)arena - SUPPORT_RAM_BASE;
    }
    if (next_page)
        madvise(arena, next_page * PAGE_SIZE, MADV_DONTNEED);
    ASAN_POISON_MEMORY_REGION(arena, next_page * PAGE_SIZE);
    memset(owner_order, 0, next_page);
    memset(is_used, 0, next_page);
    memset(is_hidden, 0, (next_page + BLOCK_PAGES - 1) / BLOCK_PAGES);
    memset(windows, 0, next_page * sizeof(windows[0]));
    memset(free_count, 0, sizeof(free_count));
    next_page = 0;
    in_use = 0;
    allocations_left = UINT64_MAX;
    allocations_failed = 0;
    log_length = 0;
    log_text_kept[0] = 0;
    diverted = NULL;
    warnings = 0;
    support_free_hook = NULL;
    support_pauses = NULL;
    support_hides = true;
    support_hidden = NULL;
    support_host_flush = NULL;
    memset(open_windows, 0, sizeof(open_windows));
}

uint64_t support_pages_in_use(void)
{
    return in_use;
}

bool support_page_is_used(hpa_t page)
{
    uint64_t number = (page.v - SUPPORT_RAM_BASE) / PAGE_SIZE;
    return number < SUPPORT_RAM_PAGES && is_used[number];
}

void support_fail_allocations_after(uint64_t count)
{
    allocations_left = count;
    fail_only_one = false;
}

void support_fail_one_allocation(uint64_t after)
{
    allocations_left = after;
    fail_only_one = true;
}

uint64_t support_allocations_failed(void)
{
    return allocations_failed;
}

const char *support_log(void)
{
    return log_text_kept;
}

unsigned support_warnings(void)
{
    return warnings;
}

_Thread_local unsigned support_cpu;

unsigned this_cpu(void)
{
    return support_cpu;
}

void support_pause(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1}, NULL);
}

void cpu_relax(void)
{
    support_pause();
}

static hpa_t alloc_locked(unsigned order)
{
    assert_true(order < ORDERS);
    if (!allocations_left) {
        allocations_failed++;
        allocations_left = fail_only_one ? UINT64_MAX : 0;
        return PAGE_NONE;
    }
    if (allocations_left != UINT64_MAX)
        allocations_left--;

    uint64_t page;
    if (free_count[order]) {
        page = free_list[order][--free_count[order]];
    } else {
        page = align_up(next_page, 1ull << order);
        if (page + (1ull << order) > kept_from)
            return PAGE_NONE;
        next_page = page + (1ull << order);
    }
    owner_order[page] = (uint8_t)(order + 1);
    memset(&is_used[page], 1, 1ul << order);
    in_use += 1ull << order;
    ASAN_UNPOISON_MEMORY_REGION(arena + page * PAGE_SIZE, PAGE_SIZE << order);
    /* Not cleared: show it. Of a large block only at its end: what was never touched stays so. */
    uint64_t shown = order < 9 ? 1ull << order : 1;
    memset(arena + (page + (1ull << order) - shown) * PAGE_SIZE, 0xa5, shown * PAGE_SIZE);
    return HPA(SUPPORT_RAM_BASE + page * PAGE_SIZE);
}

hpa_t page_alloc(unsigned order)
{
    pthread_mutex_lock(&mutex);
    hpa_t page = alloc_locked(order);
    pthread_mutex_unlock(&mutex);
    return page;
}

const char *page_shortage(void)
{
    return "give the machine more memory";
}

static void free_locked(hpa_t address, unsigned order)
{
    uint64_t page = (address.v - SUPPORT_RAM_BASE) / PAGE_SIZE;
    assert_true(page < SUPPORT_RAM_PAGES);
    assert_int_equal(owner_order[page], order + 1); /* else a double free or the wrong order */
    owner_order[page] = 0;
    memset(&is_used[page], 0, 1ul << order);
    in_use -= 1ull << order;
    assert_true(free_count[order] < sizeof(free_list[order]) / sizeof(free_list[order][0]));
    free_list[order][free_count[order]++] = page;
    ASAN_POISON_MEMORY_REGION(arena + page * PAGE_SIZE, PAGE_SIZE << order);
}

void page_free(hpa_t address, unsigned order)
{
    pthread_mutex_lock(&mutex);
    if (support_free_hook)
        support_free_hook(address, order);
    free_locked(address, order);
    pthread_mutex_unlock(&mutex);
}

/* From the end of the arena, because whoever has such pages keeps them when a test resets. */
hpa_t page_alloc_for_ever(unsigned order)
{
    pthread_mutex_lock(&mutex);
    bool fails = !allocations_left;
    allocations_failed += fails;
    if (!fails)
        kept_from = align_down(kept_from - (1ull << order), 1ull << order);
    pthread_mutex_unlock(&mutex);
    return fails ? PAGE_NONE : HPA(SUPPORT_RAM_BASE + kept_from * PAGE_SIZE);
}

uint64_t page_end(void)
{
    return SUPPORT_RAM_BASE + SUPPORT_RAM_PAGES * PAGE_SIZE;
}

/* ---- Memory that is private to a TD: ASan reports an access without a window ----------------- */

static uint64_t number_of(hpa_t page)
{
    uint64_t number = (page.v - SUPPORT_RAM_BASE) / PAGE_SIZE;
    assert_true(number < SUPPORT_RAM_PAGES);
    return number;
}

uint64_t page_hide(hpa_t block)
{
    uint64_t number = number_of(block);
    assert_int_equal(owner_order[number], 9 + 1);
    assert_false(is_hidden[number / BLOCK_PAGES]);
    if (!support_hides)
        return 0;
    ASAN_POISON_MEMORY_REGION(arena + number * PAGE_SIZE, BLOCK_PAGES * PAGE_SIZE);
    is_hidden[number / BLOCK_PAGES] = 1;
    return host_tlb_owe();
}

void page_show(hpa_t block)
{
    uint64_t number = number_of(block);
    assert_true(is_hidden[number / BLOCK_PAGES]);
    is_hidden[number / BLOCK_PAGES] = 0;
    ASAN_UNPOISON_MEMORY_REGION(arena + number * PAGE_SIZE, BLOCK_PAGES * PAGE_SIZE);
}

bool page_is_hidden(hpa_t page)
{
    if (support_hidden)
        return support_hidden(page);
    return is_hidden[number_of(page) / BLOCK_PAGES];
}

static void window_close(uint64_t number)
{
    if (!--windows[number] && is_hidden[number / BLOCK_PAGES])
        ASAN_POISON_MEMORY_REGION(arena + number * PAGE_SIZE, PAGE_SIZE);
}

void *page_window(hpa_t frame)
{
    uint64_t number = number_of(frame), *window = &open_windows[next_window++ % WINDOWS_OPEN];
    assert_true(is_hidden[number / BLOCK_PAGES] && !page_offset(frame.v));
    pthread_mutex_lock(&mutex);
    windows[number]++;
    ASAN_UNPOISON_MEMORY_REGION(arena + number * PAGE_SIZE, PAGE_SIZE);
    if (*window)
        window_close(*window - 1);
    *window = number + 1;
    pthread_mutex_unlock(&mutex);
    return arena + number * PAGE_SIZE;
}

void host_tlb_flush(void)
{
    if (support_host_flush)
        support_host_flush();
}

uint64_t direct_map;

hpa_t virt_to_phys(const void *pointer)
{
    return HPA((uint64_t)pointer - direct_map);
}

void page_clear(void *pages, unsigned order)
{
    if (order < 9)
        memset(pages, 0, PAGE_SIZE << order);
    else /* what was never touched stays so */
        assert_int_equal(madvise(pages, PAGE_SIZE << order, MADV_DONTNEED), 0);
}

void log_divert(bool (*divert)(enum log_level level, const char *line))
{
    bool (*before)(enum log_level, const char *) = diverted;
    diverted = divert;
    if (!divert && before)
        (void)before(LOG_INFO, NULL);
}

uint64_t support_number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 0) : otherwise;
}

uint64_t support_rounds(uint64_t all)
{
    return all / support_number("SHORTER", 1);
}

unsigned support_step(void)
{
    return (unsigned)support_number("SHORTER", 1);
}

void log_text(const char *text, size_t length)
{
    if (getenv("VERBOSE"))
        fprintf(stderr, "%.*s", (int)length, text);
    pthread_mutex_lock(&mutex);
    size_t room = sizeof(log_text_kept) - log_length - 1;
    size_t used = length < room ? length : room;
    memcpy(log_text_kept + log_length, text, used);
    log_length += used;
    log_text_kept[log_length] = 0;
    pthread_mutex_unlock(&mutex);
}

size_t (*support_log_room)(char next);

size_t log_room(char next)
{
    return support_log_room ? support_log_room(next) : SIZE_MAX;
}

void log_line(enum log_level level, const char *format, ...)
{
    static const char *const prefix[] = {
        [LOG_INFO] = "", [LOG_WARN] = "WARN: ", [LOG_ERROR] = "error: "};
    char line[256], prefixed[264];
    va_list arguments;
    va_start(arguments, format);
    int whole = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    if (whole > LOG_LINE_MAX - 2 - (int)strlen(prefix[level])) /* the machine would cut it */
        fail_msg("a line of %d characters: %s", whole, line);
    snprintf(prefixed, sizeof(prefixed), "%s%s", prefix[level], line);
    if (diverted && diverted(level, prefixed))
        return;
    size_t length = strlen(line);
    line[length] = '\n';
    log_text(line, length + 1);
}

void bug(const char *file, int line, const char *condition)
{
    mock_assert(0, condition, file, line);
    abort();
}

void warn(const char *file, int line, const char *condition)
{
    fprintf(stderr, "WARN %s:%d: %s\n", file, line, condition);
    warnings++;
}

bool mmu_pauses(void)
{
    return support_pauses && support_pauses();
}
