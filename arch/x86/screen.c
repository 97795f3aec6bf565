/* SPDX-License-Identifier: MIT */
/* The screen as a console; see the header. */
#include "arch/x86/screen.h"

#include "arch/x86/cpu.h"
#include "arch/x86/font.h"
#include "arch/x86/pager.h"
#include "arch/x86/paging.h"
#include "arch/x86/terminal.h"
#include "lib/bits.h"
#include "lib/log.h"

#define TEXT_BUFFER  HPA(0xb8000)
#define TEXT_SIZE    0x8000u
#define TEXT_COLUMNS 80 /* the BIOS's default, if the loader says nothing */
#define TEXT_ROWS    25
#define BLANK_CELL   0x0720

/* The CRT controller of a VGA. */
#define CRTC_INDEX        0x3d4
#define CRTC_DATA         0x3d5
#define CRTC_CURSOR_START 0x0a
#define CURSOR_OFF        0x20

static struct terminal terminal;
static struct pixels pixels;
static struct ink inks[TERMINAL_ERROR + 1];
static volatile uint16_t *cells; /* NULL: not in text mode */
static unsigned cells_in_row;
static bool settled, used;
static unsigned reserved; /* rows of the screen that the verdict has */

static void draw_pixels(unsigned column, unsigned row, const char *text, unsigned count,
                        enum terminal_colour colour)
{
    unsigned width = FONT_WIDTH * pixels.scale, height = FONT_HEIGHT * pixels.scale;
    for (unsigned i = 0; i < count; i++)
        pixels_draw(&pixels, (column + i) * width, row * height, pixels.scale, text[i],
                    inks[colour]);
}

static void draw_cells(unsigned column, unsigned row, const char *text, unsigned count,
                       enum terminal_colour colour)
{
    static const uint16_t attributes[] = {
        [TERMINAL_PLAIN] = 0x0700, [TERMINAL_WARNING] = 0x0e00, [TERMINAL_ERROR] = 0x0c00};
    volatile uint16_t *cell = &cells[row * cells_in_row + column];
    for (unsigned i = 0; i < count; i++)
        cell[i] = (uint16_t)(attributes[colour] | (uint8_t)text[i]);
}

/* Stores to a framebuffer are write-combined. */
static void screen_flush(void)
{
    __asm__ volatile("sfence" ::: "memory");
}

static void screen_write(const char *text, size_t length)
{
    terminal_write(&terminal, text, length);
    screen_flush();
}

static size_t screen_room(char next)
{
    return terminal_room(&terminal, next);
}

/* Cost of drawing a character, in comparisons of eight characters (terminal.h): of preparing its
 * lines, which grows with their width, and of the stores, which grow with the area. */
#define PIXELS_COST(scale) (70u * (scale) + 15u * (scale) * (scale))
#define CELLS_COST         2u

static void screen_begin(unsigned columns, unsigned rows, unsigned cost,
                         void (*draw)(unsigned column, unsigned row, const char *text,
                                      unsigned count, enum terminal_colour colour))
{
    terminal_init(&terminal, columns, rows, cost, draw);
    used = true;
    log_add_console(screen_write, screen_room);
}

static void start_pixels(const struct boot_info *info)
{
    const struct boot_framebuffer *screen = &info->framebuffer;
    uint64_t size = pixels_size(info);
    void *base = size ? physical_map(screen->base, size, MAP_WRITE_COMBINING) : NULL;
    settled = base || !size;
    if (!base)
        return;
    static const uint32_t colours[] = {
        [TERMINAL_PLAIN] = 0xdddddd, [TERMINAL_WARNING] = 0xffd75f, [TERMINAL_ERROR] = 0xff7066};
    pixels_init(&pixels, screen, base);
    for (unsigned i = 0; i < ARRAY_SIZE(colours); i++)
        inks[i].fore = pixels_colour(&pixels, colours[i]);
    screen_begin(screen->width / (FONT_WIDTH * pixels.scale),
                 screen->height / (FONT_HEIGHT * pixels.scale), PIXELS_COST(pixels.scale),
                 draw_pixels);
}

/* The loader's cursor would blink in the text. */
static void hide_cursor(void)
{
    outb(CRTC_INDEX, CRTC_CURSOR_START);
    outb(CRTC_DATA, CURSOR_OFF);
}

static void start_text(unsigned columns, unsigned rows)
{
    settled = true;
    if (!columns || !rows || rows > TEXT_SIZE / sizeof(*cells) / columns) {
        log_error("screen: text mode of %u x %u characters is not used: it does not fit into %u "
                  "bytes",
                  columns, rows, TEXT_SIZE);
        return;
    }
    cells = physical_map(TEXT_BUFFER, TEXT_SIZE, MAP_UNCACHED);
    if (!cells)
        return;
    cells_in_row = columns;
    for (unsigned i = 0; i < columns * rows; i++)
        cells[i] = BLANK_CELL;
    hide_cursor();
    screen_begin(columns, rows, CELLS_COST, draw_cells);
}

void screen_init(const struct boot_info *info)
{
    const struct boot_framebuffer *screen = &info->framebuffer;
    if (settled)
        return;
    if (screen->kind == BOOT_FRAMEBUFFER_RGB)
        start_pixels(info);
    else if (screen->kind == BOOT_FRAMEBUFFER_TEXT)
        start_text(screen->width, screen->height);
    else if (!info->efi_system_table.v) /* UEFI has no text mode */
        start_text(TEXT_COLUMNS, TEXT_ROWS);
}

bool screen_is_used(void)
{
    return used;
}

static unsigned verdict_rows(void)
{
    return cells ? VERDICT_CELL_ROWS : VERDICT_PIXEL_ROWS;
}

void screen_verdict(const struct verdict_text *text)
{
    unsigned wanted = verdict_rows();
    if (!reserved && used && terminal.rows >= 2 * wanted &&
        terminal.columns >= VERDICT_COLUMNS_MIN) {
        terminal_reserve(&terminal, wanted);
        reserved = wanted;
    }
    if (reserved && cells)
        verdict_put(cells, cells_in_row, terminal.rows + reserved, text);
    else if (reserved)
        verdict_draw(&pixels, terminal.rows + reserved, text);
    screen_flush();
}

static struct pager pager;

static void show_in_pages(const char *text, size_t length)
{
    pager_write(&pager, text, length);
    screen_flush();
}

void screen_show_pages(void (*wait)(void))
{
    if (!used || !terminal.lost || terminal.rows < 2) /* no row for the prompt */
        return;
    pager_begin(&pager, &terminal, wait);
    log_replay(show_in_pages);
    pager_end(&pager);
    screen_flush();
}

unsigned screen_image_scale(unsigned size)
{
    uint32_t room = terminal.rows * FONT_HEIGHT * pixels.scale;
    room = room < pixels.width ? room : pixels.width;
    return used && !cells ? room / (size + 2 * PIXELS_QUIET) : 0;
}

bool screen_image(unsigned size, bool (*dark)(unsigned x, unsigned y))
{
    unsigned scale = screen_image_scale(size), width = (size + 2 * PIXELS_QUIET) * scale;
    if (!scale)
        return false;
    pixels_draw_image(&pixels, pixels.width - width, 0, scale, size, dark);
    screen_flush();
    return true;
}
