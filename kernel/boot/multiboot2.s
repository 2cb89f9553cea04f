# Purpose:  reads the information that a Multiboot2 loader leaves.
# Mode:     64-bit long mode, early page tables
# Spec:     Multiboot2 Specification 2.0, 3.6 (boot information format)
# Exports:  multiboot2_read
# Invariants: no byte beyond total_size is read, nor one of a tag beyond its own size.
#
#   information             tag                      memory map tag (6)      module tag (3)
#   +0 total size           +0 type                  +8  entry size          +8  start
#   +4 reserved             +4 size, with these 8    +12 entry version       +12 end
#   +8 tags, on 8 bytes     +8 content               +16 entries             +16 name
#
#   memory entry            framebuffer tag (8)      RSDP tags: 14 (ACPI 1.0), 15 (2.0)
#   +0  base, 64 bits       +8  address, 64 bits     +8 copy of the RSDP
#   +8  length, 64 bits     +16 pitch
#   +16 type                +20 width +24 height
#   +20 reserved            +28 bits (8 bits wide) +29 kind (1 = RGB)
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "layout.inc"
.include "boot.inc"

.set INFO_TAGS, 8
.set INFO_SIZE_MIN, 16                          # the head and the end tag
.set TAG_TYPE, 0
.set TAG_SIZE, 4
.set TAG_CONTENT, 8
.set TAG_ALIGN, 8

.set TAG_TYPE_END, 0
.set TAG_TYPE_COUNT, 16                         # types from here on say nothing to us

.set MAP_ENTRY_SIZE, 8
.set MAP_ENTRIES, 16
.set MAP_BASE, 0
.set MAP_LENGTH, 8
.set MAP_TYPE, 16
.set MAP_ENTRY_SIZE_MIN, 24

.set TAG_MODULE_START, 8
.set TAG_MODULE_END, 12
.set TAG_MODULE_NAME, 16

.set TAG_FB_ADDRESS, 8
.set TAG_FB_PITCH, 16
.set TAG_FB_WIDTH, 20
.set TAG_FB_HEIGHT, 24
.set TAG_FB_BITS, 28
.set TAG_FB_KIND, 29
.set TAG_FB_SIZE_MIN, 32
.set FB_KIND_RGB, 1

.section .rodata, "a"
    .balign 8
tag_readers:                                    # by type; 0 = the tag is passed over
    .quad 0, tag_read_cmdline, 0, tag_read_module, 0, 0, tag_read_memory, 0
    .quad tag_read_framebuffer, 0, 0, 0, 0, 0, tag_read_rsdp_1, tag_read_rsdp_2

.section .text, "ax"

# multiboot2_read -- put what the Multiboot2 information says into bootinfo
# In:       rdi = information:u64 (physical)
# Out:      rax = offset:u64 (of what is malformed, when cf), cf = malformed; tags before it have been read
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, early page tables
function multiboot2_read
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov esi, INFO_SIZE_MIN
    call bootinfo_reach
    jc .Lread_return
    mov r12, rax                                # the information
    mov esi, dword ptr [r12]                    # total size
    call bootinfo_reach
    jc .Lread_return
    mov r13, rsi
    mov ebx, INFO_TAGS                          # offset of the tag
.Lread_tag:
    mov rax, r13
    sub rax, rbx                                # bytes left
    jb .Lread_malformed
    cmp rax, TAG_CONTENT
    jb .Lread_malformed
    lea rdi, [r12 + rbx]
    mov r14d, dword ptr [rdi + TAG_SIZE]
    cmp r14, TAG_CONTENT
    jb .Lread_malformed
    cmp rax, r14
    jb .Lread_malformed
    mov eax, dword ptr [rdi + TAG_TYPE]
    cmp eax, TAG_TYPE_END
    je .Lread_return                            # cf is clear: it is equal
    cmp eax, TAG_TYPE_COUNT
    jae .Lread_next
    lea rcx, [rip + tag_readers]
    mov rcx, qword ptr [rcx + rax * 8]
    test rcx, rcx
    jz .Lread_next
    mov rsi, r14
    call rcx
    jc .Lread_malformed
.Lread_next:
    lea rbx, [rbx + r14 + TAG_ALIGN - 1]
    and rbx, -TAG_ALIGN
    jmp .Lread_tag
.Lread_malformed:
    mov rax, rbx
    stc
.Lread_return:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function multiboot2_read

# tag_read_cmdline -- append the command line
# In:       rdi = tag:ptr, rsi = size:u64 (8 or more)
# Out:      cf = the tag is malformed
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, early page tables: a reader of tag_readers
local_function tag_read_cmdline
    call_frame
    add rdi, TAG_CONTENT
    sub rsi, TAG_CONTENT
    call cmdline_append
    clc
    return_frame
end_function tag_read_cmdline

# tag_read_module -- append a module
# In:       rdi = tag:ptr, rsi = size:u64 (8 or more)
# Out:      cf = the tag is malformed
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, early page tables: a reader of tag_readers
local_function tag_read_module
    call_frame
    cmp rsi, TAG_MODULE_NAME
    jb .Lmodule_return
    lea rdx, [rdi + TAG_MODULE_NAME]
    lea rcx, [rsi - TAG_MODULE_NAME]
    mov esi, dword ptr [rdi + TAG_MODULE_END]
    mov edi, dword ptr [rdi + TAG_MODULE_START]
    sub rsi, rdi
    jb .Lmodule_return
    call bootinfo_add_module
    clc
.Lmodule_return:
    return_frame
end_function tag_read_module

# tag_read_memory -- append the memory map
# In:       rdi = tag:ptr, rsi = size:u64 (8 or more)
# Out:      cf = the tag is malformed
# Clobbers: rax, rdx, rsi, rdi, r8, r9, r10
# Context:  long mode, early page tables: a reader of tag_readers
local_function tag_read_memory
    call_frame
    cmp rsi, MAP_ENTRIES
    jb .Lmemory_return
    mov r8d, dword ptr [rdi + MAP_ENTRY_SIZE]
    cmp r8, MAP_ENTRY_SIZE_MIN
    jb .Lmemory_return
    lea r9, [rdi + rsi]                         # end of the tag
    lea r10, [rdi + MAP_ENTRIES]
.Lmemory_entry:
    mov rax, r9
    sub rax, r10
    cmp rax, r8
    jb .Lmemory_done                            # the entries come out even, or the rest is passed over
    mov rdi, qword ptr [r10 + MAP_BASE]
    mov rsi, qword ptr [r10 + MAP_LENGTH]
    mov edx, dword ptr [r10 + MAP_TYPE]
    call bootinfo_add_memory
    add r10, r8
    jmp .Lmemory_entry
.Lmemory_done:
    clc
.Lmemory_return:
    return_frame
end_function tag_read_memory

# tag_read_framebuffer -- keep a framebuffer of pixels
# In:       rdi = tag:ptr, rsi = size:u64 (8 or more)
# Out:      cf = the tag is malformed
# Clobbers: rax, rdx
# Context:  long mode, early page tables: a reader of tag_readers
local_function tag_read_framebuffer
    cmp rsi, TAG_FB_SIZE_MIN - 1                # loaders differ on whether the last byte counts
    jb .Lframebuffer_return
    cmp byte ptr [rdi + TAG_FB_KIND], FB_KIND_RGB
    jne .Lframebuffer_done
    lea rdx, [rip + bootinfo_framebuffer]
    mov rax, qword ptr [rdi + TAG_FB_ADDRESS]
    mov qword ptr [rdx + FRAMEBUFFER_ADDRESS], rax
    mov eax, dword ptr [rdi + TAG_FB_PITCH]
    mov dword ptr [rdx + FRAMEBUFFER_PITCH], eax
    mov eax, dword ptr [rdi + TAG_FB_WIDTH]
    mov dword ptr [rdx + FRAMEBUFFER_WIDTH], eax
    mov eax, dword ptr [rdi + TAG_FB_HEIGHT]
    mov dword ptr [rdx + FRAMEBUFFER_HEIGHT], eax
    movzx eax, byte ptr [rdi + TAG_FB_BITS]
    mov dword ptr [rdx + FRAMEBUFFER_BITS], eax
.Lframebuffer_done:
    clc
.Lframebuffer_return:
    ret
end_function tag_read_framebuffer

# tag_read_rsdp_1 -- copy the RSDP of ACPI 1.0
# In:       rdi = tag:ptr, rsi = size:u64 (8 or more)
# Out:      cf = the tag is malformed
# Clobbers: rax, rdx, rsi, rdi
# Context:  long mode, early page tables: a reader of tag_readers
local_function tag_read_rsdp_1
    mov edx, RSDP_SIZE_1
    jmp tag_read_rsdp
end_function tag_read_rsdp_1

# tag_read_rsdp_2 -- copy the RSDP of ACPI 2.0
# In:       rdi = tag:ptr, rsi = size:u64 (8 or more)
# Out:      cf = the tag is malformed
# Clobbers: rax, rdx, rsi, rdi
# Context:  long mode, early page tables: a reader of tag_readers
local_function tag_read_rsdp_2
    mov edx, RSDP_SIZE_2
    jmp tag_read_rsdp
end_function tag_read_rsdp_2

# tag_read_rsdp -- copy the RSDP of a tag
# In:       rdi = tag:ptr, rsi = size:u64, rdx = wanted:u64 (RSDP_SIZE_1 or RSDP_SIZE_2)
# Out:      cf = the tag is malformed
# Clobbers: rax, rsi, rdi
# Context:  long mode
local_function tag_read_rsdp
    call_frame
    lea rax, [rdx + TAG_CONTENT]
    cmp rsi, rax
    jb .Lrsdp_return
    add rdi, TAG_CONTENT
    mov rsi, rdx
    call bootinfo_set_rsdp
    clc
.Lrsdp_return:
    return_frame
end_function tag_read_rsdp
