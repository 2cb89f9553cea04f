# Purpose:  tests of the command line, of boot unit notes and of the tables of bootinfo at their limits.
# Mode:     64-bit long mode
# Exports:  rows of section .ktap
# Invariants: what a test appends it takes away again.
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"
.include "layout.inc"
.include "boot.inc"
.include "percpu.inc"

# word_case TEXT, PRESENT -- a word to look up in the line of the test
.macro word_case text, present
    .section .rodata, "a"
.Lword_\@:
    .asciz "\text"
    .section .rodata.words, "a"
    .quad .Lword_\@, \present
.endm
.set WORD_TEXT, 0
.set WORD_PRESENT, 8
.set WORD_SIZE, 16
.set LONG_TEXT_SIZE, 2 * CMDLINE_SIZE

.section .rodata.words, "a"
    .balign 8
words:
word_case "zeta", 1
word_case "zeta-eta", 1
word_case "theta=iota", 1
word_case "zet", 0
word_case "eta", 0
word_case "theta", 0
word_case "kappa", 0
.section .rodata.words, "a"
words_end:

ktap_text line, "zeta  zeta-eta theta=iota "
ktap_text text_present, "word found"
ktap_text text_length, "length"
ktap_text text_last, "last byte"
ktap_text text_count, "count"
ktap_text text_dropped, "dropped"
ktap_text key, "key"

.section .bss, "aw", @nobits
    .balign 8
long_text:      .skip LONG_TEXT_SIZE

.section .text, "ax"

# cmdline_cut -- take away what was appended to the command line
# In:       rdi = length:u64 (that it had)
# Out:      none
# Clobbers: rax, rcx, rdi
# Context:  long mode; in a test
local_function cmdline_cut
    mov qword ptr [rip + cmdline_length], rdi
    mov ecx, CMDLINE_SIZE
    sub rcx, rdi
    lea rax, [rip + bootinfo_cmdline]
    add rdi, rax
    xor eax, eax
    rep stosb
    ret
end_function cmdline_cut

# test_words -- whole words are found, parts of words are not
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_words
    call_frame
    push rbx
    push r12
    mov r12, qword ptr [rip + cmdline_length]
    lea rdi, [rip + line]
    mov esi, CMDLINE_SIZE
    call cmdline_append
    lea rbx, [rip + words]
.Lwords_next:
    mov rdi, qword ptr [rbx + WORD_TEXT]
    call cmdline_has
    setnc al
    movzx esi, al
    lea rdi, [rip + text_present]
    mov rdx, qword ptr [rbx + WORD_PRESENT]
    call ktap_check
    add rbx, WORD_SIZE
    lea rax, [rip + words_end]
    cmp rbx, rax
    jb .Lwords_next
    mov rdi, r12
    call cmdline_cut
    mov eax, KTAP_DONE
    pop r12
    pop rbx
    return_frame
end_function test_words
ktap_test test_words, "cmdline_words"

# test_long -- a text that does not fit is cut off, and the zero at the end stays
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_long
    call_frame
    push rbx
    push r12
    mov r12, qword ptr [rip + cmdline_length]
    lea rdi, [rip + long_text]
    mov ecx, LONG_TEXT_SIZE
    mov eax, 'x'
    rep stosb
    lea rdi, [rip + long_text]
    mov esi, LONG_TEXT_SIZE
    call cmdline_append
    lea rdi, [rip + text_length]
    mov rsi, qword ptr [rip + cmdline_length]
    mov edx, CMDLINE_SIZE - 1
    call ktap_check
    lea rdi, [rip + text_last]
    movzx esi, byte ptr [rip + bootinfo_cmdline + CMDLINE_SIZE - 1]
    xor edx, edx
    call ktap_check
    mov rdi, r12
    call cmdline_cut
    mov eax, KTAP_DONE
    pop r12
    pop rbx
    return_frame
end_function test_long
ktap_test test_long, "cmdline_too_long"

# test_notes -- NOTE_MAX notes are kept, the next is refused
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, outside of boot units; a test
local_function test_notes
    call_frame
    push rbx
    push r12
    mov qword ptr gs:[PERCPU_NOTE_COUNT], 0
    xor ebx, ebx                                # notes dropped
    mov r12d, NOTE_MAX + 1
.Lnotes_next:
    lea rdi, [rip + key]
    mov esi, r12d
    call unit_note
    adc ebx, 0
    dec r12d
    jnz .Lnotes_next
    lea rdi, [rip + text_dropped]
    mov esi, ebx
    mov edx, 1
    call ktap_check
    lea rdi, [rip + text_count]
    mov rsi, qword ptr gs:[PERCPU_NOTE_COUNT]
    mov edx, NOTE_MAX
    call ktap_check
    mov qword ptr gs:[PERCPU_NOTE_COUNT], 0
    mov eax, KTAP_DONE
    pop r12
    pop rbx
    return_frame
end_function test_notes
ktap_test test_notes, "unit_notes_are_bounded"

# test_memory_limit -- the memory map takes MEMORY_ENTRIES_MAX entries and no more
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_memory_limit
    call_frame
    push rbx
    push r12
    mov r12, qword ptr [rip + bootinfo_memory_count]
    mov ebx, MEMORY_ENTRIES_MAX + 1
.Llimit_next:
    mov edi, PAGE_SIZE
    mov esi, PAGE_SIZE
    mov edx, MEMORY_TYPE_RESERVED
    call bootinfo_add_memory
    dec ebx
    jnz .Llimit_next
    lea rdi, [rip + text_count]
    mov rsi, qword ptr [rip + bootinfo_memory_count]
    mov edx, MEMORY_ENTRIES_MAX
    call ktap_check
    mov qword ptr [rip + bootinfo_memory_count], r12
    mov eax, KTAP_DONE
    pop r12
    pop rbx
    return_frame
end_function test_memory_limit
ktap_test test_memory_limit, "bootinfo_memory_is_bounded"
