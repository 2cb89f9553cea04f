# Purpose:  commands of the shell that read and write memory: peek, poke.
# Mode:     64-bit long mode
# Exports:  rows of section .shell
# Invariants: an access that faults is refused with a word; it is made once, with the size that was asked for, so that
#           device registers see what they would see of a driver.
.intel_syntax noprefix
.include "macros.inc"
.include "fault.inc"
.include "shell.inc"

.set PEEK_COUNT_MAX, 256
.set ACCESS_SIZE_USUAL, 8

# the record that the routines under fault_catch get
.set ACCESS_ADDRESS, 0x00
.set ACCESS_BYTES, 0x08
.set ACCESS_VALUE, 0x10
.set ACCESS_RECORD, 0x18

.section .bss, "aw", @nobits
    .balign 8
access:         .skip ACCESS_RECORD

.section .text, "ax"

# access_arguments -- words as numbers: an address and up to two more
# In:       rdi = words:ptr, rsi = count:u64
# Out:      rax = first:u64, rdx = second:u64, rcx = third:u64 (those that are not there: as they were), cf = a word
#           is no number, or there are none, or more than three
# Clobbers: rsi, rdi
# Context:  long mode
local_function access_arguments
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov rbx, rdi
    mov r12, rsi
    mov r13, rdx
    mov r14, rcx
    lea rax, [rsi - 1]
    cmp rax, 3
    cmc
    jc .Larguments_return
    cmp r12, 3
    jb .Larguments_second
    mov rdi, qword ptr [rbx + 16]
    call words_number
    jc .Larguments_return
    mov r14, rax
.Larguments_second:
    cmp r12, 2
    jb .Larguments_first
    mov rdi, qword ptr [rbx + 8]
    call words_number
    jc .Larguments_return
    mov r13, rax
.Larguments_first:
    mov rdi, qword ptr [rbx]
    call words_number
.Larguments_return:
    mov rdx, r13
    mov rcx, r14
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function access_arguments

# access_size_check -- whether a size is 1, 2, 4 or 8
# In:       rdi = size:u64
# Out:      cf = it is not
# Clobbers: rax
# Context:  long mode
local_function access_size_check
    cmp rdi, 8
    ja .Lsize_wrong
    mov eax, 1 << 1 | 1 << 2 | 1 << 4 | 1 << 8
    bt eax, edi
    cmc
    ret
.Lsize_wrong:
    stc
    ret
end_function access_size_check

# access_load, access_store -- one access of the record's size
# In:       rdi = record:ptr (ACCESS_*)
# Out:      none
# Clobbers: rax, rcx, rdx
# Context:  long mode, under fault_catch
local_function access_load
    mov rdx, qword ptr [rdi + ACCESS_ADDRESS]
    mov rcx, qword ptr [rdi + ACCESS_BYTES]
    cmp ecx, 2
    jb .Lload_1
    je .Lload_2
    cmp ecx, 4
    je .Lload_4
    mov rax, qword ptr [rdx]
    jmp .Lload_done
.Lload_1:
    movzx eax, byte ptr [rdx]
    jmp .Lload_done
.Lload_2:
    movzx eax, word ptr [rdx]
    jmp .Lload_done
.Lload_4:
    mov eax, dword ptr [rdx]
.Lload_done:
    mov qword ptr [rdi + ACCESS_VALUE], rax
    ret
end_function access_load

local_function access_store
    mov rdx, qword ptr [rdi + ACCESS_ADDRESS]
    mov rcx, qword ptr [rdi + ACCESS_BYTES]
    mov rax, qword ptr [rdi + ACCESS_VALUE]
    cmp ecx, 2
    jb .Lstore_1
    je .Lstore_2
    cmp ecx, 4
    je .Lstore_4
    mov qword ptr [rdx], rax
    ret
.Lstore_1:
    mov byte ptr [rdx], al
    ret
.Lstore_2:
    mov word ptr [rdx], ax
    ret
.Lstore_4:
    mov dword ptr [rdx], eax
    ret
end_function access_store

# access_try -- make the access of the record
# In:       rdi = routine:ptr
# Out:      rax = vector:u64 when cf, cf = it faulted
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set
local_function access_try
    lea rsi, [rip + access]
    xor edx, edx                                # FAULT_CATCH_QUIET
    jmp fault_catch
end_function access_try

# command_peek -- peek ADDR [COUNT [SIZE]]
# In:       rdi = words:ptr, rsi = count:u64
# Out:      rax = reason:asciz, cf = refused
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a command
local_function command_peek
    call_frame
    push rbx
    push r12
    mov edx, 1
    mov ecx, ACCESS_SIZE_USUAL
    call access_arguments
    jc .Lpeek_usage
    mov qword ptr [rip + access + ACCESS_ADDRESS], rax
    mov qword ptr [rip + access + ACCESS_BYTES], rcx
    mov rbx, rdx
    lea rax, [rdx - 1]
    cmp rax, PEEK_COUNT_MAX
    jae .Lpeek_usage
    mov rdi, rcx
    call access_size_check
    jc .Lpeek_usage
    lea rdi, [rip + access_load]                # the first decides whether there is anything to say
    call access_try
    jc .Lpeek_fault
    lea rdi, [rip + name_peek]
    call out_begin
    lea rdi, [rip + key_values]
    call out_list
.Lpeek_value:
    call out_row
    call access_say
    call out_row_end
    dec rbx
    jz .Lpeek_end
    mov rax, qword ptr [rip + access + ACCESS_BYTES]
    add qword ptr [rip + access + ACCESS_ADDRESS], rax
    lea rdi, [rip + access_load]
    call access_try
    jnc .Lpeek_value
    call out_list_end
    lea rdi, [rip + key_error]
    lea rsi, [rip + text_fault]
    call out_text
    jmp .Lpeek_last
.Lpeek_end:
    call out_list_end
.Lpeek_last:
    call out_end
    clc
.Lpeek_return:
    pop r12
    pop rbx
    return_frame
.Lpeek_fault:
    lea rax, [rip + text_fault]
    stc
    jmp .Lpeek_return
.Lpeek_usage:
    lea rax, [rip + text_peek_usage]
    stc
    jmp .Lpeek_return
end_function command_peek
shell_text name_peek, "peek"
shell_text key_values, "values"
shell_text key_error, "error"
shell_text text_fault, "not mapped, or not to be used so"
shell_text text_peek_usage, "expected an address, how many (1 to 256), bytes of each (1, 2, 4 or 8)"
shell_command command_peek, "peek", "ADDR [COUNT [SIZE]]", "read memory"

# access_say -- address and value of the record
# In:       none
# Out:      none
# Clobbers: rax, rdx, rsi, rdi
# Context:  long mode, between out_begin and out_end
local_function access_say
    call_frame
    lea rdi, [rip + key_address]
    mov rsi, qword ptr [rip + access + ACCESS_ADDRESS]
    call out_hex
    lea rdi, [rip + key_value]
    mov rsi, qword ptr [rip + access + ACCESS_VALUE]
    call out_hex
    return_frame
end_function access_say
shell_text key_address, "address"
shell_text key_value, "value"

# command_poke -- poke ADDR VALUE [SIZE]
# In:       rdi = words:ptr, rsi = count:u64
# Out:      rax = reason:asciz, cf = refused
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a command
local_function command_poke
    call_frame
    cmp rsi, 2
    jb .Lpoke_usage
    mov ecx, ACCESS_SIZE_USUAL
    call access_arguments
    jc .Lpoke_usage
    mov qword ptr [rip + access + ACCESS_ADDRESS], rax
    mov qword ptr [rip + access + ACCESS_BYTES], rcx
    mov qword ptr [rip + access + ACCESS_VALUE], rdx
    mov rdi, rcx
    call access_size_check
    jc .Lpoke_usage
    cmp ecx, 8
    je .Lpoke_store
    shl ecx, 3
    shr rdx, cl                                 # what does not fit the size is no value of it
    test rdx, rdx
    jnz .Lpoke_usage
.Lpoke_store:
    lea rdi, [rip + access_store]
    call access_try
    jc .Lpoke_fault
    lea rdi, [rip + name_poke]
    call out_begin
    call access_say
    call out_end
    clc
    return_frame
.Lpoke_fault:
    lea rax, [rip + text_fault]
    stc
    return_frame
.Lpoke_usage:
    lea rax, [rip + text_poke_usage]
    stc
    return_frame
end_function command_poke
shell_text name_poke, "poke"
shell_text text_poke_usage, "expected an address, a value, bytes of it (1, 2, 4 or 8), which the value fits"
shell_command command_poke, "poke", "ADDR VALUE [SIZE]", "write memory"
