# Purpose:  the PXFAULT block: every key of the contract in its order, printed from a table.
# Mode:     64-bit long mode, interrupts off
# Spec:     contract.toml [fault]; Intel SDM vol. 3, table 6-1 (names of the exceptions)
# Exports:  fault_report fault_report_cut
# Invariants: the rows of the table are the keys of the contract, in its order (checked while assembling); nothing
#           here follows a pointer of the interrupted code other than through fault_read. Should a key fault all the
#           same, fault_dispatch goes on at fault_report_cut, and the block is whole but for that key.
.intel_syntax noprefix
.include "macros.inc"
.include "contract.inc"
.include "registers.inc"
.include "percpu.inc"
.include "sched.inc"
.include "user.inc"

.set CHAR_NEWLINE, 10
.set NAME_SIZE, 4                               # of a row of exception_names

# fault_row KEY, PRINTER, ARGUMENT -- how one key is printed: the printer gets the frame in rdi, the argument in rsi
# and the scope in rdx
.macro fault_row key, printer, argument
    .if FAULT_KEY_\key - FAULT_ROW
    .error "the rows of fault_rows do not follow the keys of contract.toml"
    .endif
    .quad \printer, \argument
    .set FAULT_ROW, FAULT_ROW + 1
.endm

.set ROW_PRINTER, 0
.set ROW_ARGUMENT, 8
.set ROW_SIZE, 16

# what a report keeps on the stack, where a fault in it finds the way back
.set RECORD_KEY, 0x00
.set RECORD_CUT, 0x08                           # keys
.set RECORD_FRAME, 0x10
.set RECORD_SCOPE, 0x18
.set RECORD_AROUND, 0x20
.set RECORD_SIZE, 0x28

.section .rodata, "a"
    .balign 8
.set FAULT_ROW, 0
fault_rows:
    fault_row SCOPE, print_scope, 0
    fault_row CPU, print_percpu_long, PERCPU_ID
    fault_row THREAD, print_percpu, PERCPU_THREAD
    fault_row VECTOR, print_frame, FRAME_VECTOR
    fault_row NAME, print_name, 0
    fault_row ERROR, print_frame, FRAME_ERROR
    fault_row RIP, print_frame, FRAME_RIP
    fault_row CS, print_frame, FRAME_CS
    fault_row RFLAGS, print_frame, FRAME_RFLAGS
    fault_row RSP, print_frame, FRAME_RSP
    fault_row SS, print_frame, FRAME_SS
    fault_row RAX, print_frame, FRAME_RAX
    fault_row RBX, print_frame, FRAME_RBX
    fault_row RCX, print_frame, FRAME_RCX
    fault_row RDX, print_frame, FRAME_RDX
    fault_row RSI, print_frame, FRAME_RSI
    fault_row RDI, print_frame, FRAME_RDI
    fault_row RBP, print_frame, FRAME_RBP
    fault_row R8, print_frame, FRAME_R8
    fault_row R9, print_frame, FRAME_R9
    fault_row R10, print_frame, FRAME_R10
    fault_row R11, print_frame, FRAME_R11
    fault_row R12, print_frame, FRAME_R12
    fault_row R13, print_frame, FRAME_R13
    fault_row R14, print_frame, FRAME_R14
    fault_row R15, print_frame, FRAME_R15
    fault_row CR0, print_cr0, 0
    fault_row CR2, print_frame, FRAME_CR2
    fault_row CR3, print_cr3, 0
    fault_row CR4, print_cr4, 0
    fault_row EFER, print_msr, MSR_EFER
    fault_row UNIT, print_unit, 0
    fault_row PROGRAM, print_program, 0
    fault_row STACK, print_stack, 0
    fault_row TRACE, print_trace, 0
.if FAULT_ROW - FAULT_KEY_COUNT
    .error "fault_rows lacks a key of contract.toml"
.endif

# NAME_SIZE bytes each, by vector
exception_names:
    .ascii "#DE\0#DB\0NMI\0#BP\0#OF\0#BR\0#UD\0#NM\0"
    .ascii "#DF\0#09\0#TS\0#NP\0#SS\0#GP\0#PF\0#15\0"
    .ascii "#MF\0#AC\0#MC\0#XM\0#VE\0#CP\0#22\0#23\0"
    .ascii "#24\0#25\0#26\0#27\0#HV\0#VC\0#SX\0#31\0"
text_interrupt: .asciz "interrupt"

.section .text, "ax"

# fault_report -- print one PXFAULT block; a key that cannot be printed for a fault is cut with a question mark
# In:       rdi = frame:ptr, rsi = scope:asciz
# Out:      cf = a key is cut
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts off, GS base set
function fault_report
    call_frame
    push rbx
    push qword ptr gs:[PERCPU_REPORT]           # of the report around this one
    push rsi                                    # the record, from RSP up: RECORD_*
    push rdi
    push 0
    push 0
    call serial_line_begin
    lea rdi, [rip + contract_fault_begin]
    call serial_put_string
.Lreport_key:
    mov qword ptr gs:[PERCPU_REPORT], rsp
    mov ebx, [rsp + RECORD_KEY]
    mov edi, CHAR_NEWLINE
    call serial_put_char
    lea rax, [rip + contract_fault_keys]
    mov rdi, qword ptr [rax + rbx * 8]
    call serial_put_string
    mov edi, '='
    call serial_put_char
    lea rcx, [rip + fault_rows]
    mov rax, rbx
    shl rax, 4                                  # ROW_SIZE
    add rcx, rax
    mov rdi, [rsp + RECORD_FRAME]
    mov rsi, qword ptr [rcx + ROW_ARGUMENT]
    mov rdx, [rsp + RECORD_SCOPE]
    call qword ptr [rcx + ROW_PRINTER]
.Lreport_next:
    inc qword ptr [rsp + RECORD_KEY]
    cmp qword ptr [rsp + RECORD_KEY], FAULT_KEY_COUNT
    jb .Lreport_key
    mov rax, [rsp + RECORD_AROUND]
    mov qword ptr gs:[PERCPU_REPORT], rax
    mov edi, CHAR_NEWLINE
    call serial_put_char
    lea rdi, [rip + contract_fault_end]
    call serial_put_string
    call serial_line_end
    xor eax, eax
    cmp rax, [rsp + RECORD_CUT]                 # cf: there are some
    lea rsp, [rsp + RECORD_SIZE]
    pop rbx
    return_frame
fault_report_cut:                               # rsp = the record; all other registers are those of the second fault
    lea rbp, [rsp + RECORD_SIZE + 8]
    inc qword ptr [rsp + RECORD_CUT]
    mov edi, '?'
    call serial_put_char
    jmp .Lreport_next
end_function fault_report
.global fault_report_cut
.if ROW_SIZE - (1 << 4)
    .error "fault_report shifts by the size of a row"
.endif

# print_scope -- print the scope of the report
# In:       rdx = scope:asciz
# Out:      none
# Clobbers: rax, rdx, rdi
# Context:  long mode, interrupts off, within a PXFAULT block: a printer of fault_rows
local_function print_scope
    mov rdi, rdx
    jmp serial_put_string
end_function print_scope

# print_frame -- print a quadword of the frame
# In:       rdi = frame:ptr, rsi = offset:u64
# Out:      none
# Clobbers: rax, rdx, rdi
# Context:  long mode, interrupts off, within a PXFAULT block: a printer of fault_rows
local_function print_frame
    mov rdi, qword ptr [rdi + rsi]
    jmp serial_put_hex
end_function print_frame

# print_percpu -- print a quadword of the per-CPU block
# In:       rsi = offset:u64
# Out:      none
# Clobbers: rax, rdx, rdi
# Context:  long mode, interrupts off, within a PXFAULT block: a printer of fault_rows
local_function print_percpu
    mov rdi, qword ptr gs:[rsi]
    jmp serial_put_hex
end_function print_percpu

# print_percpu_long -- print a dword of the per-CPU block
# In:       rsi = offset:u64
# Out:      none
# Clobbers: rax, rdx, rdi
# Context:  long mode, interrupts off, within a PXFAULT block: a printer of fault_rows
local_function print_percpu_long
    mov edi, dword ptr gs:[rsi]
    jmp serial_put_hex
end_function print_percpu_long

# print_cr0 -- print CR0
# In:       none
# Out:      none
# Clobbers: rax, rdx, rdi
# Context:  long mode, interrupts off, within a PXFAULT block: a printer of fault_rows
local_function print_cr0
    mov rdi, cr0
    jmp serial_put_hex
end_function print_cr0

# print_cr3 -- print CR3
# In:       none
# Out:      none
# Clobbers: rax, rdx, rdi
# Context:  long mode, interrupts off, within a PXFAULT block: a printer of fault_rows
local_function print_cr3
    mov rdi, cr3
    jmp serial_put_hex
end_function print_cr3

# print_cr4 -- print CR4
# In:       none
# Out:      none
# Clobbers: rax, rdx, rdi
# Context:  long mode, interrupts off, within a PXFAULT block: a printer of fault_rows
local_function print_cr4
    mov rdi, cr4
    jmp serial_put_hex
end_function print_cr4

# print_msr -- print a model specific register
# In:       esi = msr:u32
# Out:      none
# Clobbers: rax, rcx, rdx, rdi
# Context:  long mode, interrupts off, within a PXFAULT block: a printer of fault_rows
local_function print_msr
    mov ecx, esi
    rdmsr
    shl rdx, 32
    lea rdi, [rdx + rax]
    jmp serial_put_hex
end_function print_msr

# print_name -- print the name of the vector
# In:       rdi = frame:ptr
# Out:      none
# Clobbers: rax, rdx, rdi
# Context:  long mode, interrupts off, within a PXFAULT block: a printer of fault_rows
local_function print_name
    mov rax, qword ptr [rdi + FRAME_VECTOR]
    lea rdi, [rip + text_interrupt]
    cmp rax, EXCEPTION_COUNT
    jae serial_put_string
    lea rdi, [rip + exception_names]
    lea rdi, [rdi + rax * NAME_SIZE]
    jmp serial_put_string
end_function print_name

# print_unit -- print the boot unit in progress, nothing outside of boot units
# In:       none
# Out:      none
# Clobbers: rax, rdx, rdi
# Context:  long mode, interrupts off, within a PXFAULT block: a printer of fault_rows
local_function print_unit
    mov rdi, qword ptr gs:[PERCPU_UNIT]
    test rdi, rdi
    jnz serial_put_string
    ret
end_function print_unit

# print_program -- print the program whose thread runs, nothing in a kernel thread
# In:       none
# Out:      none
# Clobbers: rax, rdx, rdi
# Context:  long mode, interrupts off, within a PXFAULT block: a printer of fault_rows
local_function print_program
    mov rdi, qword ptr gs:[PERCPU_CURRENT]
    test rdi, rdi
    jz .Lprogram_none
    mov rdi, qword ptr [rdi + THREAD_USER]
    test rdi, rdi
    jz .Lprogram_none
    mov rdi, qword ptr [rdi + USER_PROGRAM]
    add rdi, PROGRAM_NAME
    jmp serial_put_string
.Lprogram_none:
    ret
end_function print_program

# print_stack -- print the top of the interrupted stack
# In:       rdi = frame:ptr
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, interrupts off, within a PXFAULT block: a printer of fault_rows
local_function print_stack
    mov rdi, qword ptr [rdi + FRAME_RSP]
    mov esi, FAULT_STACK_QUADS
    jmp fault_put_stack
end_function print_stack

# print_trace -- print the return addresses of the interrupted code
# In:       rdi = frame:ptr
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, interrupts off, within a PXFAULT block: a printer of fault_rows
local_function print_trace
    mov rax, rdi
    mov rdi, qword ptr [rax + FRAME_RBP]
    mov esi, FAULT_TRACE_MAX
    cmp byte ptr [rax + FRAME_CS], SELECTOR_USER_CODE | SELECTOR_RPL_MASK
    jne fault_put_trace
    mov rax, qword ptr gs:[PERCPU_CURRENT]
    mov rax, qword ptr [rax + THREAD_USER]
    mov rax, qword ptr [rax + USER_PROGRAM]
    mov rdx, qword ptr [rax + PROGRAM_TEXT_FIRST]
    mov rcx, qword ptr [rax + PROGRAM_TEXT_END]
    jmp fault_put_trace_of
end_function print_trace
