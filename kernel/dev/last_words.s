# Purpose:  the end of the boot on the screen: what the serial line said of it, once more, where a person may look.
# Mode:     64-bit long mode
# Exports:  last_words_set, last_words
# Invariants: the serial report is whole before anything is drawn, and the host has looked: drawing may fail, for
#           page tables may be what broke. It is tried once; a fault in it ends in the halt that waits behind it.
.intel_syntax noprefix
.include "macros.inc"

.section .bss, "aw", @nobits
    .balign 8
words_routine:  .skip 8                         # what says it: In rdi, rsi; 0 = nothing is to be said
words_first:    .skip 8                         # its arguments
words_second:   .skip 8

.section .text, "ax"

# last_words_set -- note how the boot ends; only the first end counts. The console stays out of the report
# In:       rdi = routine:ptr, rsi = first:u64, rdx = second:u64 (what it gets in rdi and rsi)
# Out:      none
# Clobbers: none
# Context:  long mode, any IF
function last_words_set
    mov byte ptr [rip + console_on], 0
    cmp qword ptr [rip + words_routine], 0
    jne .Lset_return
    mov qword ptr [rip + words_routine], rdi
    mov qword ptr [rip + words_first], rsi
    mov qword ptr [rip + words_second], rdx
.Lset_return:
    ret
end_function last_words_set

# last_words -- show on the screen how the boot ended
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts off, GS base set; nothing else runs any more
function last_words
    mov rax, qword ptr [rip + words_routine]
    test rax, rax
    jz .Lwords_return
    mov qword ptr [rip + words_routine], 0
    call_frame
    push rbx
    push rbx
    mov rbx, rax
    call console_start
    jc .Lwords_leave
    mov byte ptr [rip + serial_dead], 1
    mov rdi, qword ptr [rip + words_first]
    mov rsi, qword ptr [rip + words_second]
    call rbx
.Lwords_leave:
    pop rbx
    pop rbx
    pop rbp
.Lwords_return:
    ret
end_function last_words
