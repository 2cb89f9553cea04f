# Purpose:  what a loader looks for in the image: the Multiboot2 header (GRUB) and the PVH note (QEMU -kernel).
# Mode:     data
# Spec:     Multiboot2 Specification 2.0, 3.1.1 header layout, 3.1.10 framebuffer tag; Xen docs/misc/pvh.pandoc;
#           ELF gABI, note section
# Exports:  multiboot2_header, multiboot2_header_end
# Invariants: the header lies in the first 32 KiB of the file and on 8 bytes: image.toml places .multiboot2 first.
#
#   Multiboot2 header           PVH note
#   +0  magic                   +0  size of the name (4)
#   +4  architecture (0 = i386) +4  size of the descriptor (8)
#   +8  length                  +8  XEN_ELFNOTE_PHYS32_ENTRY
#   +12 -(magic+arch+length)    +12 "Xen\0"
#   +16 tags, each on 8 bytes   +16 physical address of the 32-bit entry, 8 bytes
.intel_syntax noprefix
.include "boot.inc"

.set CHECKSUM_MODULUS, 0x100000000              # the four fields add up to 0 in 32 bits
.set MULTIBOOT2_HEADER_LENGTH, multiboot2_header_end - multiboot2_header

.section .multiboot2, "a"
    .balign 8
.global multiboot2_header
multiboot2_header:
    .long MULTIBOOT2_HEADER_MAGIC
    .long MULTIBOOT2_ARCHITECTURE_I386
    .long MULTIBOOT2_HEADER_LENGTH
    .long CHECKSUM_MODULUS - (MULTIBOOT2_HEADER_MAGIC + MULTIBOOT2_ARCHITECTURE_I386 + MULTIBOOT2_HEADER_LENGTH)
    .short MULTIBOOT2_HEADER_TAG_FRAMEBUFFER    # optional: a loader without graphics boots us all the same
    .short MULTIBOOT2_HEADER_TAG_OPTIONAL
    .long 20
    .long FRAMEBUFFER_WANTED_WIDTH
    .long FRAMEBUFFER_WANTED_HEIGHT
    .long FRAMEBUFFER_WANTED_BITS
    .balign 8
    .short MULTIBOOT2_HEADER_TAG_END
    .short 0
    .long 8
.global multiboot2_header_end
multiboot2_header_end:

.section .note.pvh, "a", @note
    .balign 4
    .long .Lnote_descriptor - .Lnote_name
    .long .Lnote_end - .Lnote_descriptor
    .long XEN_ELFNOTE_PHYS32_ENTRY
.Lnote_name:
    .asciz "Xen"
.Lnote_descriptor:
    .quad boot_enter_pvh
.Lnote_end:
