# Purpose:  tests of what reads the loaders: the Multiboot2 and PVH readers against whole and damaged information.
# Mode:     64-bit long mode
# Spec:     Multiboot2 Specification 2.0, 3.6; xen/include/public/arch-x86/hvm/start_info.h
# Exports:  rows of section .ktap
# Invariants: bootinfo is put back as the boot left it (boot_state_save, boot_state_restore).
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"
.include "layout.inc"
.include "boot.inc"

.set TAG_CMDLINE, 1
.set TAG_MODULE, 3
.set TAG_MEMORY, 6
.set TAG_FRAMEBUFFER, 8
.set TAG_RSDP_1, 14
.set NO_OFFSET, -1                              # of a case: nothing is malformed

# info_begin NAME / info_end NAME -- a Multiboot2 information; its total size counts what lies between
.macro info_begin name
    .balign 8
\name:
    .long .Lend_\name - \name
    .long 0
.endm
.macro info_end name
    .balign 8
    .long 0, 8
.Lend_\name:
.endm

# tag_begin NAME, TYPE / tag_end NAME -- a tag whose size is right
.macro tag_begin name, type
    .balign 8
.Ltag_\name:
    .long \type, .Ltag_end_\name - .Ltag_\name
.endm
.macro tag_end name
.Ltag_end_\name:
.endm

# memory_entry BASE, LENGTH, TYPE -- of a memory map tag
.macro memory_entry base, length, type
    .quad \base, \length
    .long \type, 0
.endm

# reader_case NAME, OFFSET, ENTRIES -- information, where it is malformed, memory entries that it adds
.macro reader_case name, offset, entries
    .quad \name - VIRTUAL_BASE, \offset, \entries
.endm
.set CASE_INFO, 0
.set CASE_OFFSET, 8
.set CASE_ENTRIES, 16
.set CASE_SIZE, 24

.section .rodata, "a"
info_begin info_whole
tag_begin whole_cmdline, TAG_CMDLINE
    .asciz "alpha beta"
tag_end whole_cmdline
tag_begin whole_module, TAG_MODULE
    .long 0x200000, 0x203000
    .asciz "hello"
tag_end whole_module
tag_begin whole_unknown, 0x1234
    .quad -1
tag_end whole_unknown
tag_begin whole_memory, TAG_MEMORY
    .long 24, 0
    memory_entry 0x0, 0x9f000, MEMORY_TYPE_USABLE
    memory_entry 0x5000, 0, 0
    memory_entry 0xfffffffffffff000, 0x2000, MEMORY_TYPE_RESERVED
tag_end whole_memory
tag_begin whole_framebuffer, TAG_FRAMEBUFFER
    .quad 0xfd000000
    .long 4096, 1024, 768
    .byte 32, 1, 0, 0
tag_end whole_framebuffer
info_end info_whole

info_begin info_size_zero                       # a tag of size 0 would be read for ever
    .long TAG_CMDLINE, 0
info_end info_size_zero

info_begin info_beyond                          # a tag that is longer than the whole
tag_begin beyond_memory, TAG_MEMORY
    .long 24, 0
    memory_entry 0x1000, 0x1000, MEMORY_TYPE_USABLE
tag_end beyond_memory
    .long TAG_CMDLINE, 0x10000
info_end info_beyond

info_begin info_entry_small                     # entries of the memory map that cannot hold one
tag_begin small_memory, TAG_MEMORY
    .long 8, 0
    memory_entry 0x1000, 0x1000, MEMORY_TYPE_USABLE
tag_end small_memory
info_end info_entry_small

info_begin info_entry_cut                       # half an entry at the end is passed over
tag_begin cut_memory, TAG_MEMORY
    .long 24, 0
    memory_entry 0x1000, 0x1000, MEMORY_TYPE_USABLE
    .quad 0x2000
tag_end cut_memory
info_end info_entry_cut

info_begin info_module_backwards                # a module that ends before it starts
tag_begin backwards_module, TAG_MODULE
    .long 0x203000, 0x200000
    .asciz "hello"
tag_end backwards_module
info_end info_module_backwards

info_begin info_rsdp_short
tag_begin short_rsdp, TAG_RSDP_1
    .quad 0
tag_end short_rsdp
info_end info_rsdp_short

    .balign 8
info_no_end:                                    # the end tag is missing
    .long 24, 0
    .long 0x1234, 16, 0, 0

reader_cases:
    reader_case info_whole, NO_OFFSET, 2
    reader_case info_size_zero, 8, 0
    reader_case info_beyond, 48, 1
    reader_case info_entry_small, 8, 0
    reader_case info_entry_cut, NO_OFFSET, 1
    reader_case info_module_backwards, 8, 0
    reader_case info_rsdp_short, 8, 0
    reader_case info_no_end, 24, 0
reader_cases_end:

    .balign 8
pvh_memory:
    memory_entry 0x0, 0x9f000, MEMORY_TYPE_USABLE
    memory_entry 0, 0, 0
start_info:                                     # hvm_start_info; the module list is out of reach
    .long PVH_MAGIC, 1, 0, 1
    .quad EARLY_MAP_SIZE - 16, 0, 0
    .quad pvh_memory - VIRTUAL_BASE
    .long 2, 0

ktap_text text_malformed, "malformed"
ktap_text text_offset, "offset"
ktap_text text_entries, "memory entries"
ktap_text text_length, "length"
ktap_text text_modules, "modules"
ktap_text text_base, "base"
ktap_text text_name, "name"
ktap_text text_pitch, "pitch"

.section .bss, "aw", @nobits
    .balign 8
saved_memory_count:     .skip 8
saved_module_count:     .skip 8
saved_cmdline_length:   .skip 8
saved_framebuffer:      .skip FRAMEBUFFER_SIZE

.section .text, "ax"

# boot_state_save -- keep what the tests change of bootinfo
# In:       none
# Out:      none
# Clobbers: rax, rcx, rsi, rdi
# Context:  long mode; in a test
local_function boot_state_save
    mov rax, qword ptr [rip + bootinfo_memory_count]
    mov qword ptr [rip + saved_memory_count], rax
    mov rax, qword ptr [rip + bootinfo_module_count]
    mov qword ptr [rip + saved_module_count], rax
    mov rax, qword ptr [rip + cmdline_length]
    mov qword ptr [rip + saved_cmdline_length], rax
    lea rsi, [rip + bootinfo_framebuffer]
    lea rdi, [rip + saved_framebuffer]
    mov ecx, FRAMEBUFFER_SIZE
    rep movsb
    ret
end_function boot_state_save

# boot_state_restore -- put it back
# In:       none
# Out:      none
# Clobbers: rax, rcx, rsi, rdi
# Context:  long mode, after boot_state_save; in a test
local_function boot_state_restore
    mov rax, qword ptr [rip + saved_memory_count]
    mov qword ptr [rip + bootinfo_memory_count], rax
    mov rax, qword ptr [rip + saved_module_count]
    mov qword ptr [rip + bootinfo_module_count], rax
    mov rcx, qword ptr [rip + saved_cmdline_length]
    mov qword ptr [rip + cmdline_length], rcx
    lea rdi, [rip + bootinfo_cmdline]
    add rdi, rcx
    neg rcx
    add rcx, CMDLINE_SIZE
    xor eax, eax
    rep stosb                                   # what was appended
    lea rsi, [rip + saved_framebuffer]
    lea rdi, [rip + bootinfo_framebuffer]
    mov ecx, FRAMEBUFFER_SIZE
    rep movsb
    ret
end_function boot_state_restore

# test_multiboot2 -- each case of reader_cases is read as far as it is sound
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_multiboot2
    call_frame
    push rbx
    push r12
    push r13
    push r14
    lea rbx, [rip + reader_cases]
.Lmultiboot2_next:
    call boot_state_save
    mov rdi, qword ptr [rbx + CASE_INFO]
    call multiboot2_read
    mov r12, NO_OFFSET
    cmovc r12, rax
    mov r13, qword ptr [rip + bootinfo_memory_count]
    sub r13, qword ptr [rip + saved_memory_count]
    call boot_state_restore
    lea rdi, [rip + text_offset]
    mov rsi, r12
    mov rdx, qword ptr [rbx + CASE_OFFSET]
    call ktap_check
    lea rdi, [rip + text_entries]
    mov rsi, r13
    mov rdx, qword ptr [rbx + CASE_ENTRIES]
    call ktap_check
    add rbx, CASE_SIZE
    lea rax, [rip + reader_cases_end]
    cmp rbx, rax
    jb .Lmultiboot2_next
    mov eax, KTAP_DONE
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function test_multiboot2
ktap_test test_multiboot2, "boot_multiboot2_reader"

# test_multiboot2_values -- what the whole information says arrives in bootinfo
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_multiboot2_values
    call_frame
    push rbx
    push r12
    call boot_state_save
    mov rdi, offset info_whole - VIRTUAL_BASE
    call multiboot2_read
    imul rbx, qword ptr [rip + bootinfo_memory_count], MEMORY_ENTRY_SIZE
    lea rax, [rip + bootinfo_memory_map - MEMORY_ENTRY_SIZE]
    add rbx, rax                                # the last entry: it would wrap
    lea rdi, [rip + text_length]
    mov rsi, qword ptr [rbx + MEMORY_LENGTH]
    mov edx, 0x1000
    call ktap_check
    mov rbx, qword ptr [rip + saved_module_count]
    lea rdi, [rip + text_modules]
    mov rsi, qword ptr [rip + bootinfo_module_count]
    lea rdx, [rbx + 1]
    call ktap_check
    shl rbx, 6                                  # MODULE_ENTRY_SIZE
    lea rax, [rip + bootinfo_modules]
    add rbx, rax
    lea rdi, [rip + text_base]
    mov rsi, qword ptr [rbx + MODULE_BASE]
    mov edx, 0x200000
    call ktap_check
    lea rdi, [rip + text_length]
    mov rsi, qword ptr [rbx + MODULE_LENGTH]
    mov edx, 0x3000
    call ktap_check
    lea rdi, [rip + text_name]
    mov rsi, qword ptr [rbx + MODULE_NAME]
    mov rdx, 0x0000006f6c6c6568                 # "hello"
    call ktap_check
    lea rdi, [rip + text_pitch]
    mov esi, dword ptr [rip + bootinfo_framebuffer + FRAMEBUFFER_PITCH]
    mov edx, 4096
    call ktap_check
    call boot_state_restore
    mov eax, KTAP_DONE
    pop r12
    pop rbx
    return_frame
end_function test_multiboot2_values
ktap_test test_multiboot2_values, "boot_multiboot2_values"

# test_out_of_reach -- information that the early map cannot reach is refused without a read
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_out_of_reach
    call_frame
    mov rdi, EARLY_MAP_SIZE - 8
    call multiboot2_read
    setc al
    movzx esi, al
    lea rdi, [rip + text_malformed]
    mov edx, 1
    call ktap_check
    xor edi, edi
    call pvh_read
    setc al
    movzx esi, al
    lea rdi, [rip + text_malformed]
    mov edx, 1
    call ktap_check
    mov eax, KTAP_DONE
    return_frame
end_function test_out_of_reach
ktap_test test_out_of_reach, "boot_information_out_of_reach"

# test_pvh -- a module list out of reach is malformed, and the memory map is read all the same
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_pvh
    call_frame
    call boot_state_save
    mov rdi, offset start_info - VIRTUAL_BASE
    call pvh_read
    mov edx, 16                                 # offset of the module list
    mov rsi, NO_OFFSET
    cmovc rsi, rax
    lea rdi, [rip + text_offset]
    call ktap_check
    lea rdi, [rip + text_entries]
    mov rsi, qword ptr [rip + bootinfo_memory_count]
    sub rsi, qword ptr [rip + saved_memory_count]
    mov edx, 1
    call ktap_check
    call boot_state_restore
    mov eax, KTAP_DONE
    return_frame
end_function test_pvh
ktap_test test_pvh, "boot_pvh_reader"
