# Purpose:  runs the boot units that boot.toml declares, in its order, and says how each went.
# Mode:     64-bit long mode
# Spec:     the PXBOOT lines and the rows of boot_unit_table are the contract's (contract.toml)
# Exports:  boot_run_units, boot_unit_count, boot_unit_log, unit_note, unit_note_dec, unit_note_text
# Invariants: a unit runs only when the rows that it needs succeeded; a unit that is not optional and fails ends
#           the boot; gs:PERCPU_UNIT names the unit in progress, for the fault report.
.intel_syntax noprefix
.include "macros.inc"
.include "contract.inc"
.include "percpu.inc"
.include "boot.inc"
.include "boot_table.inc"

.section .rodata, "a"
text_start:     .asciz " start"
text_ok:        .asciz " ok"
text_skip:      .asciz " skip"
text_fail:      .asciz " fail"
text_tsc:       .asciz " tsc="
text_needs:     .asciz " needs="
text_unit_failed: .asciz "unit-failed"
    .balign 8
result_names:   .quad text_ok, text_skip, text_fail
object boot_unit_count                          # u64: rows of boot_unit_table
    .quad BOOT_UNIT_COUNT
end_object boot_unit_count

.section .bss, "aw", @nobits
    .balign 8
object boot_unit_log                            # UNIT_LOG_* for each row of boot_unit_table, at the same offset
    .skip BOOT_UNIT_COUNT * BOOT_ROW_SIZE
end_object boot_unit_log

.section .text, "ax"

# boot_run_units -- run every boot unit in the order of the table
# In:       none
# Out:      rax = succeeded:u64 (mask of rows)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, serial_init done; does not return when a needed unit fails
function boot_run_units
    call_frame
    push rbx
    push r12
    push r13
    push r14
    lea rbx, [rip + boot_unit_table]
    xor r12d, r12d                              # index of the row
    xor r13d, r13d                              # rows that succeeded
.Lunits_next:
    cmp r12d, BOOT_UNIT_COUNT
    jae .Lunits_done
    mov rsi, qword ptr [rbx + BOOT_ROW_NEEDS]
    mov rax, r13
    not rax
    and rsi, rax                                # what is missing
    mov rdi, rbx
    jnz .Lunits_needs
    call unit_run
    cmp rax, BOOT_RESULT_OK
    jne .Lunits_no_success
    bts r13, r12
    jmp .Lunits_advance
.Lunits_no_success:
    cmp rax, BOOT_RESULT_SKIP
    je .Lunits_advance
    test qword ptr [rbx + BOOT_ROW_FLAGS], BOOT_FLAG_OPTIONAL
    jnz .Lunits_advance
    lea rdi, [rip + text_unit_failed]
    mov rsi, qword ptr [rbx + BOOT_ROW_NAME]
    call panic
.Lunits_needs:
    call unit_say_needs
.Lunits_advance:
    add rbx, BOOT_ROW_SIZE
    inc r12d
    jmp .Lunits_next
.Lunits_done:
    mov rax, r13
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function boot_run_units

# unit_run -- run one boot unit between its start line and its result line
# In:       rdi = row:ptr
# Out:      rax = result:u64 (BOOT_RESULT_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set
local_function unit_run
    call_frame
    push rbx
    push r12
    mov rbx, rdi
    mov rax, qword ptr [rbx + BOOT_ROW_NAME]
    mov qword ptr gs:[PERCPU_UNIT], rax
    mov qword ptr gs:[PERCPU_NOTE_COUNT], 0
    lea rsi, [rip + text_start]
    call unit_line_begin
    call serial_line_end
    mov rdi, rbx
    call qword ptr [rbx + BOOT_ROW_ENTRY]
    mov r12d, BOOT_RESULT_FAIL                  # any other number is a failure too
    cmp rax, r12
    cmovb r12, rax
    lea rax, [rip + result_names]
    mov rsi, qword ptr [rax + r12 * 8]
    mov rdi, rbx
    call unit_line_begin
    call unit_put_notes
    call serial_line_end
    mov qword ptr gs:[PERCPU_UNIT], 0
    mov rax, r12
    pop r12
    pop rbx
    return_frame
end_function unit_run

# unit_say_needs -- say that a unit is skipped, and the first row that it misses
# In:       rdi = row:ptr, rsi = missing:u64 (mask of rows, not 0)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, GS base set
local_function unit_say_needs
    call_frame
    push rbx
    push r12
    bsf rbx, rsi
    lea rsi, [rip + text_skip]
    call unit_line_begin
    lea rdi, [rip + text_needs]
    call serial_put_string
    shl rbx, 5                                  # BOOT_ROW_SIZE
    lea rdi, [rip + boot_unit_table]
    mov rdi, qword ptr [rdi + rbx + BOOT_ROW_NAME]
    call serial_put_string
    call serial_line_end
    pop r12
    pop rbx
    return_frame
end_function unit_say_needs
.if BOOT_ROW_SIZE - (1 << 5)
    .error "unit_say_needs shifts by the size of a row"
.endif

# unit_line_begin -- begin a PXBOOT line: unit, state, time
# In:       rdi = row:ptr, rsi = state:asciz
# Out:      none
# Clobbers: rax, rdx
# Context:  long mode, GS base set; serial_line_end ends the line
local_function unit_line_begin
    call_frame
    push rbx
    push r12
    push rdi
    push rsi
    mov rbx, rdi
    rdtsc
    shl rdx, 32
    lea r12, [rdx + rax]
    mov rdx, r12
    call unit_log
    call serial_line_begin
    lea rdi, [rip + contract_boot_prefix]
    call serial_put_string
    mov rdi, qword ptr [rbx + BOOT_ROW_NAME]
    call serial_put_string
    mov rdi, rsi
    call serial_put_string
    lea rdi, [rip + text_tsc]
    call serial_put_string
    mov rdi, r12
    call serial_put_dec
    pop rsi
    pop rdi
    pop r12
    pop rbx
    return_frame
end_function unit_line_begin

# unit_log -- keep what a PXBOOT line says: the first line of a unit is its start
# In:       rdi = row:ptr, rsi = state:asciz, rdx = tsc:u64
# Out:      none
# Clobbers: rax, rdi
# Context:  long mode
local_function unit_log
    lea rax, [rip + boot_unit_table]
    sub rdi, rax
    cmp rdi, BOOT_UNIT_COUNT * BOOT_ROW_SIZE
    jae .Llog_return
    lea rax, [rip + boot_unit_log]
    add rdi, rax
    mov qword ptr [rdi + UNIT_LOG_STATE], rsi
    mov qword ptr [rdi + UNIT_LOG_END], rdx
    cmp qword ptr [rdi + UNIT_LOG_START], 0
    jne .Llog_return
    mov qword ptr [rdi + UNIT_LOG_START], rdx
.Llog_return:
    ret
end_function unit_log

# unit_put_notes -- send the key=value pairs that the unit in progress left
# In:       none
# Out:      none
# Clobbers: rax, rdx
# Context:  long mode, GS base set, within a PXBOOT line
local_function unit_put_notes
    call_frame
    push rbx
    push r12
    push rsi
    push rdi
    mov r12, qword ptr gs:[PERCPU_NOTE_COUNT]
    mov rbx, qword ptr gs:[PERCPU_SELF]
    add rbx, PERCPU_NOTES
.Lnotes_next:
    dec r12
    js .Lnotes_done
    mov edi, ' '
    call serial_put_char
    mov rdi, qword ptr [rbx + NOTE_KEY]
    call serial_put_string
    mov edi, '='
    call serial_put_char
    mov rdi, qword ptr [rbx + NOTE_VALUE]
    call qword ptr [rbx + NOTE_PRINTER]
    add rbx, NOTE_SIZE
    jmp .Lnotes_next
.Lnotes_done:
    pop rdi
    pop rsi
    pop r12
    pop rbx
    return_frame
end_function unit_put_notes

# unit_note -- leave key=0x… for the result line of the boot unit in progress; beyond NOTE_MAX notes it is dropped
# In:       rdi = key:asciz, rsi = value:u64
# Out:      cf = dropped
# Clobbers: rax, rdx
# Context:  long mode, GS base set, in a boot unit; the key must stay in memory
function unit_note
    lea rdx, [rip + serial_put_hex]
    jmp unit_note_store
end_function unit_note

# unit_note_dec -- as unit_note, the value in decimal
# In:       rdi = key:asciz, rsi = value:u64
# Out:      cf = dropped
# Clobbers: rax, rdx
# Context:  long mode, GS base set, in a boot unit; the key must stay in memory
function unit_note_dec
    lea rdx, [rip + serial_put_dec]
    jmp unit_note_store
end_function unit_note_dec

# unit_note_text -- as unit_note, the value a text without blanks
# In:       rdi = key:asciz, rsi = text:asciz
# Out:      cf = dropped
# Clobbers: rax, rdx
# Context:  long mode, GS base set, in a boot unit; key and text must stay in memory
function unit_note_text
    lea rdx, [rip + serial_put_string]
    jmp unit_note_store
end_function unit_note_text

# unit_note_store -- append one note to those of the CPU
# In:       rdi = key:asciz, rsi = value:u64, rdx = printer:ptr
# Out:      cf = dropped
# Clobbers: rax
# Context:  long mode, GS base set
local_function unit_note_store
    mov rax, qword ptr gs:[PERCPU_NOTE_COUNT]
    cmp rax, NOTE_MAX
    cmc
    jc .Lnote_return                            # full
    inc qword ptr gs:[PERCPU_NOTE_COUNT]
    imul rax, rax, NOTE_SIZE
    add rax, qword ptr gs:[PERCPU_SELF]
    mov qword ptr [rax + PERCPU_NOTES + NOTE_KEY], rdi
    mov qword ptr [rax + PERCPU_NOTES + NOTE_VALUE], rsi
    mov qword ptr [rax + PERCPU_NOTES + NOTE_PRINTER], rdx
    clc
.Lnote_return:
    ret
end_function unit_note_store
