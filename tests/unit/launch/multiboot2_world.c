/* SPDX-License-Identifier: MIT */
#include "tests/unit/launch/multiboot2_world.h"

uint64_t next_tag;

void finish_header(uint32_t architecture)
{
    const uint32_t length = (uint32_t)(next_tag - HEADER);
    put(HEADER, 0xe85250d6, 4);
    put(HEADER + 4, architecture, 4);
    put(HEADER + 8, length, 4);
    put(HEADER + 12, 0u - 0xe85250d6u - architecture - length, 4);
}

void put_tag(uint32_t type, uint32_t flags, uint32_t words, const uint32_t *word)
{
    uint64_t at = next_tag - 8;
    put(at, type | flags << 16, 4);
    put(at + 4, 8 + 4 * words, 4);
    for (uint32_t i = 0; i < words; i++)
        put(at + 8 + 4 * i, word[i], 4);
    at += (8 + 4 * words + 7) & ~7u;
    put(at, 0, 4);
    put(at + 4, 8, 4);
    next_tag = at + 8;
    finish_header(0);
}
void make_32(void)
{
    world_reset();
    memcpy(file, "\177ELF\1\1\1", 7);
    put(16, 2, 2);
    put(18, 3, 2);
    put(24, ENTRY, 4);
    put(28, 52, 4);
    put(42, 32, 2);
    put(44, 1, 2);
    const uint32_t segment[8] = {1, TEXT, BASE, BASE, SIZE / 2, SIZE, 7, 0x1000};
    memcpy(file + 52, segment, sizeof(segment));
    next_tag = TAGS + 8;
    put(TAGS, 0, 4);
    put(TAGS + 4, 8, 4);
    finish_header(0);
}

void make_64(void)
{
    memset(file, 0, HEADER);
    memcpy(file, "\177ELF\2\1\1", 7);
    put(16, 2, 2);
    put(18, 62, 2);
    put(24, 0xffffffff80000000 + ENTRY, 8);
    put(32, 64, 8);
    put(54, 56, 2);
    put(56, 1, 2);
    put(64, 1, 4);
    put(72, TEXT, 8);
    put(80, 0xffffffff80000000 + BASE, 8);
    put(88, BASE, 8);
    put(96, SIZE / 2, 8);
    put(104, SIZE, 8);
}
