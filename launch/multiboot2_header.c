/* SPDX-License-Identifier: MIT */
/* The header of a multiboot2 program (Multiboot2 Specification 2.0, section 3.1), which consists of
 * tags that are aligned to 8 bytes. */
#include "launch/multiboot2.h"

#include "launch/loaders.h"
#include "lib/bits.h"

#define HEADER_MAGIC     0xe85250d6u
#define HEADER_SEARCH    32768u
#define HEADER_ALIGN     8u
#define ARCHITECTURE_386 0u
#define TAG_OPTIONAL     BIT(0)
#define CONSOLE_REQUIRED BIT(0)

/* Packed, because nothing aligns a file's contents. */
struct header {
    uint32_t magic, architecture, length, checksum;
} __attribute__((packed));

struct tag {
    uint16_t type, flags;
    uint32_t size; /* includes these fields, but not what aligns the next tag */
};

enum tag_type {
    TAG_END = 0,
    TAG_INFORMATION = 1,
    TAG_ADDRESS = 2,
    TAG_ENTRY = 3,
    TAG_CONSOLE = 4,
    TAG_FRAMEBUFFER = 5,
    TAG_MODULE_ALIGNMENT = 6,
    TAG_EFI_BOOT_SERVICES = 7,
    TAG_EFI_ENTRY_32 = 8,
    TAG_EFI_ENTRY_64 = 9,
    TAG_RELOCATABLE = 10,
};

/* Sizes of tags whose contents are read. */
static const uint32_t sizes[] = {
    [TAG_INFORMATION] = sizeof(struct tag),
    [TAG_ADDRESS] = sizeof(struct tag) + sizeof(struct multiboot2_address),
    [TAG_ENTRY] = sizeof(struct tag) + sizeof(uint32_t),
    [TAG_CONSOLE] = sizeof(struct tag) + sizeof(uint32_t),
    [TAG_RELOCATABLE] = sizeof(struct tag) + sizeof(struct multiboot2_relocation),
};

/* The types of information that this loader understands: all that the specification has, except for
 * the ELF sections, which it would have to load. A loader has to refuse a required type that it
 * does not understand. It omits a type that it understands but that the machine does not have, such
 * as a framebuffer. */
#define INFORMATION_LAST 21u
#define INFORMATION_ELF  9u

bool multiboot2_find_header(const struct guest_image *image, uint64_t *at)
{
    const uint64_t size = image->size < HEADER_SEARCH ? image->size : HEADER_SEARCH;
    const uint64_t end = size < sizeof(struct header) ? 0 : size - sizeof(struct header) + 1;
    for (uint64_t i = 0; (i = image_find_u32(image, i, end, HEADER_ALIGN, HEADER_MAGIC)) < end;
         i += HEADER_ALIGN) {
        const struct header *h = (const void *)((const char *)image->file + i);
        *at = i;
        if (!(h->magic + h->architecture + h->length + h->checksum))
            return true;
    }
    return false;
}

static enum exit_code check_information(const struct guest_image *image, const struct tag *tag,
                                        const char *types)
{
    for (uint32_t i = 0; i < (tag->size - sizeof(*tag)) / sizeof(uint32_t); i++) {
        uint32_t type;
        memcpy(&type, types + i * sizeof(type), sizeof(type));
        if (type > INFORMATION_LAST || type == INFORMATION_ELF)
            REFUSE(MODULE_NOT_ELF, image,
                   "its multiboot2 header requires information of type %u, which is not supported",
                   type);
    }
    return EXIT_OK;
}

static enum exit_code check_relocation(const struct guest_image *image,
                                       const struct multiboot2_relocation *r)
{
    if (!r->alignment || r->alignment & (r->alignment - 1))
        REFUSE(MODULE_NOT_ELF, image,
               "the relocatable tag of its multiboot2 header has alignment %#x, which is no power "
               "of two",
               r->alignment);
    if (r->preference > MULTIBOOT2_HIGHEST)
        REFUSE(MODULE_NOT_ELF, image,
               "the relocatable tag of its multiboot2 header has preference %u; expected 0, 1 or 2",
               r->preference);
    return EXIT_OK;
}

/* Reads a tag, whose contents lie at `contents`. Some tags need no action: a VM has neither EFI nor
 * a screen, a framebuffer tag states only a preference, and modules are always aligned to pages. */
static enum exit_code multiboot2_read_tag(const struct guest_image *image, const struct tag *tag,
                                          const char *contents, struct multiboot2_request *request)
{
    uint32_t flags;
    switch (tag->type) {
    case TAG_INFORMATION:
        return tag->flags & TAG_OPTIONAL ? EXIT_OK : check_information(image, tag, contents);
    case TAG_ADDRESS:
        request->has_address = true;
        memcpy(&request->address, contents, sizeof(request->address));
        return EXIT_OK;
    case TAG_ENTRY:
        request->has_entry = true;
        memcpy(&request->entry, contents, sizeof(request->entry));
        return EXIT_OK;
    case TAG_CONSOLE:
        memcpy(&flags, contents, sizeof(flags));
        if (flags & CONSOLE_REQUIRED && !(tag->flags & TAG_OPTIONAL))
            REFUSE(MODULE_NOT_ELF, image,
                   "its multiboot2 header requires a text console or a framebuffer; a VM has only "
                   "a serial port");
        return EXIT_OK;
    case TAG_FRAMEBUFFER:
    case TAG_MODULE_ALIGNMENT:
    case TAG_EFI_BOOT_SERVICES:
    case TAG_EFI_ENTRY_32:
    case TAG_EFI_ENTRY_64:
        return EXIT_OK;
    case TAG_RELOCATABLE:
        request->relocatable = true;
        memcpy(&request->relocation, contents, sizeof(request->relocation));
        return check_relocation(image, &request->relocation);
    default:
        if (!(tag->flags & TAG_OPTIONAL))
            REFUSE(MODULE_NOT_ELF, image,
                   "its multiboot2 header requires tag %u, which is not supported", tag->type);
        return EXIT_OK;
    }
}

/* Reads the tags at offsets `at` to `end` of the file. */
static enum exit_code multiboot2_read_tags(const struct guest_image *image, uint64_t at,
                                           uint64_t end, struct multiboot2_request *request)
{
    struct tag tag;
    while (at + sizeof(tag) <= end) {
        const char *from = (const char *)image->file + at;
        memcpy(&tag, from, sizeof(tag));
        const uint32_t least =
            tag.type < ARRAY_SIZE(sizes) && sizes[tag.type] ? sizes[tag.type] : sizeof(tag);
        if (tag.size < least || tag.size > end - at)
            REFUSE(MODULE_NOT_ELF, image,
                   "tag %u of its multiboot2 header has %u bytes; expected %u to %lu", tag.type,
                   tag.size, least, end - at);
        if (tag.type == TAG_END)
            return EXIT_OK;
        enum exit_code code = multiboot2_read_tag(image, &tag, from + sizeof(tag), request);
        if (code)
            return code;
        at += align_up((uint64_t)tag.size, HEADER_ALIGN);
    }
    REFUSE(MODULE_NOT_ELF, image, "the tags of its multiboot2 header have no end tag");
}

enum exit_code multiboot2_read_header(const struct guest_image *image,
                                      struct multiboot2_request *request)
{
    struct header header;
    memset(request, 0, sizeof(*request));
    if (!multiboot2_find_header(image, &request->at))
        REFUSE(MODULE_NOT_ELF, image, "no multiboot2 header");
    memcpy(&header, (const char *)image->file + request->at, sizeof(header));
    if (header.architecture != ARCHITECTURE_386)
        REFUSE(MODULE_NOT_ELF, image,
               "its multiboot2 header is for architecture %u; expected 0, the 386",
               header.architecture);
    if (header.length < sizeof(header) || header.length > image->size - request->at)
        REFUSE(MODULE_TRUNCATED, image,
               "its multiboot2 header at %#lx has %u bytes, and the file ends at %#lx", request->at,
               header.length, image->size);
    return multiboot2_read_tags(image, request->at + sizeof(header), request->at + header.length,
                                request);
}
