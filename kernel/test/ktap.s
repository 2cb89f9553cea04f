# Purpose:  runs the in-kernel tests and says their results as KTAP.
# Mode:     64-bit long mode
# Spec:     Linux Documentation/dev-tools/ktap.rst, version 1
# Exports:  ktap_run, ktap_run_some, ktap_run_one, ktap_find, ktap_nth, ktap_check, ktap_skip
# Invariants: every row of the table gets exactly one result line. What memory management counts of refusals is afterwards
#           as it was: those of the tests are none of the kernel's. A fault in a test that did not ask for it ends
#           the boot with its report, like any other.
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"

# ktap_counter NAME -- a counter that tests leave as it was
.macro ktap_counter name
    .quad \name
    .set KTAP_COUNTERS, KTAP_COUNTERS + 1
.endm
.set KTAP_COUNTERS, 0
.section .rodata, "a"
    .balign 8
ktap_counters:
.irp name, frame_exhausted, frame_double_frees, frame_bad_frees, frame_damaged
    ktap_counter \name
.endr
.irp name, heap_exhausted, heap_double_frees, heap_bad_frees, heap_overruns
    ktap_counter \name
.endr

.section .ktap.first, "a"
    .balign 8
ktap_rows:
.section .ktap.last, "a"
ktap_rows_end:

.section .bss, "aw", @nobits
    .balign 8
ktap_failed:                                    # u64: checks that failed in the test that runs
    .skip 8
ktap_reason:                                    # asciz: why the test that runs is skipped
    .skip 8
ktap_wanted:                                    # ptr: how the names of the tests begin that are wanted
    .skip 8
ktap_wanted_size:                               # u64: bytes of it, 0 = all are wanted
    .skip 8
ktap_counts:                                    # what the counters were
    .skip KTAP_COUNTERS * 8

.section .rodata, "a"
text_version:   .asciz "KTAP version 1"
text_plan:      .asciz "1.."
text_ok:        .asciz "ok "
text_not_ok:    .asciz "not ok "
text_skip:      .asciz " # SKIP "
text_note:      .asciz "# "
text_is:        .asciz " is "
text_expected:  .asciz ", expected "

.section .text, "ax"

# ktap_run -- run all tests
# In:       none
# Out:      rax = failed:u64 (tests)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, after the boot units
function ktap_run
    mov qword ptr [rip + ktap_wanted_size], 0
    lea rdi, [rip + ktap_rows]
    lea rsi, [rip + ktap_rows_end]
    jmp ktap_run_rows
end_function ktap_run

# ktap_run_some -- run the tests whose names begin with some text
# In:       rdi = text:ptr, rsi = bytes:u64
# Out:      rax = failed:u64 (tests; 1 when none has such a name)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, after the boot units; the text stays as it is
function ktap_run_some
    mov qword ptr [rip + ktap_wanted], rdi
    mov qword ptr [rip + ktap_wanted_size], rsi
    lea rdi, [rip + ktap_rows]
    lea rsi, [rip + ktap_rows_end]
    jmp ktap_run_rows
end_function ktap_run_some

# ktap_run_one -- run one test
# In:       rdi = row:ptr (KTAP_ROW_*)
# Out:      rax = failed:u64 (tests)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, after the boot units
function ktap_run_one
    mov qword ptr [rip + ktap_wanted_size], 0
    lea rsi, [rdi + KTAP_ROW_SIZE]
    jmp ktap_run_rows
end_function ktap_run_one

# ktap_run_rows -- run those of some tests that are wanted
# In:       rdi = first:ptr (KTAP_ROW_*), rsi = end:ptr
# Out:      rax = failed:u64 (tests; 1 when none is wanted)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, after the boot units
local_function ktap_run_rows
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov rbx, rdi
    mov r14, rsi
    call ktap_keep_counts
    call serial_line_begin
    lea rdi, [rip + text_version]
    call serial_put_string
    call serial_line_end
    call serial_line_begin
    lea rdi, [rip + text_plan]
    call serial_put_string
    mov rdi, rbx
    mov rsi, r14
    call ktap_count
    mov rdi, rax
    call serial_put_dec
    call serial_line_end
    xor r12d, r12d                              # number of the test
    xor r13d, r13d                              # tests that failed
.Lrun_next:
    cmp rbx, r14
    jae .Lrun_done
    mov rdi, rbx
    call ktap_is_wanted
    jc .Lrun_skip
    inc r12
    mov qword ptr [rip + ktap_failed], 0
    call qword ptr [rbx + KTAP_ROW_ROUTINE]
    mov rdi, rbx
    mov rsi, r12
    mov rdx, rax
    call ktap_say_result
    cmp qword ptr [rip + ktap_failed], 0
    setne al
    movzx eax, al
    add r13, rax
.Lrun_skip:
    add rbx, KTAP_ROW_SIZE
    jmp .Lrun_next
.Lrun_done:
    cmp r12, 1                                  # a name that no test has is a mistake, not a success
    adc r13, 0
    call ktap_put_counts_back
    mov rax, r13
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function ktap_run_rows

# ktap_count -- how many of some tests are wanted
# In:       rdi = first:ptr (KTAP_ROW_*), rsi = end:ptr
# Out:      rax = count:u64
# Clobbers: rdi
# Context:  long mode
local_function ktap_count
    call_frame
    xor eax, eax
.Lcount_next:
    cmp rdi, rsi
    jae .Lcount_return
    call ktap_is_wanted
    cmc
    adc rax, 0
    add rdi, KTAP_ROW_SIZE
    jmp .Lcount_next
.Lcount_return:
    return_frame
end_function ktap_count

# ktap_is_wanted -- does the name of a test begin as it should
# In:       rdi = row:ptr (KTAP_ROW_*)
# Out:      cf = it does not
# Clobbers: none
# Context:  long mode
local_function ktap_is_wanted
    push rax
    push rcx
    push rdx
    push rsi
    mov rsi, qword ptr [rip + ktap_wanted]
    mov rdx, qword ptr [rdi + KTAP_ROW_NAME]
    xor ecx, ecx
.Lwanted_char:
    cmp rcx, qword ptr [rip + ktap_wanted_size]
    jae .Lwanted_return                         # cf is clear
    mov al, byte ptr [rsi + rcx]
    cmp al, byte ptr [rdx + rcx]                # the zero behind the name is no character of the text
    stc
    jne .Lwanted_return
    inc rcx
    jmp .Lwanted_char
.Lwanted_return:
    pop rsi
    pop rdx
    pop rcx
    pop rax
    ret
end_function ktap_is_wanted

# ktap_keep_counts -- note what the counters are
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx
# Context:  long mode
local_function ktap_keep_counts
    lea rdx, [rip + ktap_counts]
    mov ecx, KTAP_COUNTERS
.Lkeep_next:
    lea rax, [rip + ktap_counters]
    mov rax, [rax + rcx * 8 - 8]
    mov rax, [rax]
    mov [rdx + rcx * 8 - 8], rax
    dec ecx
    jnz .Lkeep_next
    ret
end_function ktap_keep_counts

# ktap_put_counts_back -- make the counters what they were
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx
# Context:  long mode, after ktap_keep_counts
local_function ktap_put_counts_back
    mov ecx, KTAP_COUNTERS
.Lput_next:
    lea rax, [rip + ktap_counts]
    mov rdx, [rax + rcx * 8 - 8]
    lea rax, [rip + ktap_counters]
    mov rax, [rax + rcx * 8 - 8]
    mov [rax], rdx
    dec ecx
    jnz .Lput_next
    ret
end_function ktap_put_counts_back

# ktap_nth -- the name of the nth test
# In:       rdi = n:u64[0..0xffff]
# Out:      rax = name:asciz, cf = there are fewer
# Clobbers: rcx, rdx, rsi
# Context:  long mode
function ktap_nth
    lea rsi, [rip + ktap_rows]
    lea rdx, [rip + ktap_rows_end]
    mov ecx, KTAP_ROW_SIZE
    jmp words_nth
end_function ktap_nth

# ktap_find -- the row of a test
# In:       rdi = name:asciz
# Out:      rax = row:ptr, cf = there is none
# Clobbers: rcx, rdx, rsi
# Context:  long mode
function ktap_find
    lea rsi, [rip + ktap_rows]
    lea rdx, [rip + ktap_rows_end]
    mov ecx, KTAP_ROW_SIZE
    jmp words_find
end_function ktap_find

# ktap_say_result -- the result line of a test
# In:       rdi = row:ptr, rsi = number:u64, rdx = result:u64 (KTAP_DONE or KTAP_SKIP)
# Out:      none
# Clobbers: rax, rdx, rdi
# Context:  long mode, GS base set
local_function ktap_say_result
    call_frame
    push rbx
    push r12
    mov rbx, rdi
    mov r12, rdx
    call serial_line_begin
    lea rdi, [rip + text_ok]
    cmp qword ptr [rip + ktap_failed], 0
    je .Lresult_number
    lea rdi, [rip + text_not_ok]
    mov r12d, KTAP_DONE                         # a test that failed was not skipped
.Lresult_number:
    call serial_put_string
    mov rdi, rsi
    call serial_put_dec
    mov edi, ' '
    call serial_put_char
    mov rdi, qword ptr [rbx + KTAP_ROW_NAME]
    call serial_put_string
    cmp r12, KTAP_SKIP
    jne .Lresult_end
    lea rdi, [rip + text_skip]
    call serial_put_string
    mov rdi, qword ptr [rip + ktap_reason]
    call serial_put_string
.Lresult_end:
    call serial_line_end
    pop r12
    pop rbx
    return_frame
end_function ktap_say_result

# ktap_check -- hold a value against what it should be; when they differ the test fails and a note says both
# In:       rdi = what:asciz, rsi = actual:u64, rdx = expected:u64
# Out:      cf = they differ
# Clobbers: rax, rdx
# Context:  long mode, GS base set, in a test
function ktap_check
    cmp rsi, rdx
    clc
    jne .Lcheck_failed
    ret
.Lcheck_failed:
    call_frame
    push rdi
    push rdx
    inc qword ptr [rip + ktap_failed]
    call serial_line_begin
    lea rdi, [rip + text_note]
    call serial_put_string
    mov rdi, qword ptr [rbp - 8]
    call serial_put_string
    lea rdi, [rip + text_is]
    call serial_put_string
    mov rdi, rsi
    call serial_put_hex
    lea rdi, [rip + text_expected]
    call serial_put_string
    mov rdi, qword ptr [rbp - 16]
    call serial_put_hex
    call serial_line_end
    pop rdx
    pop rdi
    stc
    return_frame
end_function ktap_check

# ktap_skip -- say why the test that runs cannot; the test returns what this returns
# In:       rdi = reason:asciz
# Out:      rax = result:u64 (KTAP_SKIP)
# Clobbers: none
# Context:  long mode, in a test
function ktap_skip
    mov qword ptr [rip + ktap_reason], rdi
    mov eax, KTAP_SKIP
    ret
end_function ktap_skip
