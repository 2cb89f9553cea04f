# Purpose:  commands of the shell that start what came with the boot: modules, run.
# Mode:     64-bit long mode
# Spec:     pixelvm/SPEC.md, sections 6 and 7
# Exports:  rows of section .shell; module_find
# Invariants: a module is read through the direct map, within its length.
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "layout.inc"
.include "boot.inc"
.include "pixelvm.inc"
.include "vm.inc"
.include "elf.inc"
.include "shell.inc"

.set RUN_FUEL, 1000000000                       # when none is given

# vm_stop_row STOP, LABEL -- a row of stop_names
.macro vm_stop_row stop, label
    .quad VM_STOP_\stop, \label
.endm

.section .rodata, "a"
    .balign 8
stop_names:
    vm_stop_row HALTED, stop_halted
    vm_stop_row FUEL, stop_fuel
    vm_stop_row ILLEGAL, stop_illegal
    vm_stop_row UNDERFLOW, stop_underflow
    vm_stop_row OVERFLOW, stop_overflow
    vm_stop_row DIVISION, stop_division
    vm_stop_row ALIGNMENT, stop_alignment
    vm_stop_row BOUNDS, stop_bounds
    vm_stop_row CALLS, stop_calls
    vm_stop_row RETURN, stop_return
    .quad 0, stop_interrupted
stop_halted:    .asciz "halted"
stop_fuel:      .asciz "fuel"
stop_illegal:   .asciz "illegal"
stop_underflow: .asciz "underflow"
stop_overflow:  .asciz "overflow"
stop_division:  .asciz "division"
stop_alignment: .asciz "alignment"
stop_bounds:    .asciz "bounds"
stop_calls:     .asciz "calls"
stop_return:    .asciz "return"
stop_interrupted: .asciz "interrupted"

.section .text, "ax"

# module_nth -- the name of the nth module
# In:       rdi = n:u64[0..0xffff]
# Out:      rax = name:asciz, cf = there are fewer
# Clobbers: none
# Context:  long mode
local_function module_nth
    cmp rdi, qword ptr [rip + bootinfo_module_count]
    cmc
    jc .Lmodule_nth_return
    mov rax, rdi
    shl rax, 6                                  # MODULE_ENTRY_SIZE
    push rcx
    lea rcx, [rip + bootinfo_modules + MODULE_NAME]
    add rax, rcx
    pop rcx
    clc
.Lmodule_nth_return:
    ret
end_function module_nth
.if MODULE_ENTRY_SIZE - (1 << 6)
    .error "module_nth shifts by the size of an entry"
.endif

# module_find -- the module of a name
# In:       rdi = name:asciz
# Out:      rax = module:ptr (MODULE_*), cf = there is none
# Clobbers: rcx, rsi
# Context:  long mode
function module_find
    call_frame
    lea rax, [rip + bootinfo_modules]
    mov rcx, qword ptr [rip + bootinfo_module_count]
.Lfind_next:
    sub rcx, 1
    jc .Lfind_return
    lea rsi, [rax + MODULE_NAME]
    call words_same
    jnc .Lfind_return
    add rax, MODULE_ENTRY_SIZE
    jmp .Lfind_next
.Lfind_return:
    return_frame
end_function module_find

# command_modules -- modules: what the loader brought
# In:       rdi = words:ptr, rsi = count:u64
# Out:      rax = reason:asciz, cf = refused
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a command
local_function command_modules
    call_frame
    push rbx
    push r12
    lea rdi, [rip + name_modules]
    call out_begin
    lea rdi, [rip + name_modules]
    call out_list
    lea rbx, [rip + bootinfo_modules]
    mov r12, qword ptr [rip + bootinfo_module_count]
.Lmodules_row:
    dec r12
    js .Lmodules_end
    call out_row
    lea rdi, [rip + key_name]
    lea rsi, [rbx + MODULE_NAME]
    call out_text
    lea rdi, [rip + key_base]
    mov rsi, qword ptr [rbx + MODULE_BASE]
    call out_hex
    lea rdi, [rip + key_length]
    mov rsi, qword ptr [rbx + MODULE_LENGTH]
    call out_number
    call out_row_end
    add rbx, MODULE_ENTRY_SIZE
    jmp .Lmodules_row
.Lmodules_end:
    call out_list_end
    call out_end
    clc
    pop r12
    pop rbx
    return_frame
end_function command_modules
shell_text name_modules, "modules"
shell_text key_name, "name"
shell_text key_base, "base"
shell_text key_length, "length"
shell_command command_modules, "modules", "", "the boot modules"

# command_run -- run MODULE [NUMBER] [&]: a program of the Pixel VM, which gets so much fuel, or one of ring 3, which gets the
#           number as its argument and with & does not keep the shell waiting
# In:       rdi = words:ptr, rsi = count:u64
# Out:      rax = reason:asciz, cf = refused
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a command
local_function command_run
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov rbx, rdi
    call run_words
    jc .Lrun_usage
    mov r12, rax                                # the number
    mov r13, rdx                                # whether there is one
    mov r14, rcx                                # whether to wait
    mov rdi, [rbx]
    call module_find
    jc .Lrun_unknown
    mov rdi, rax
    mov rcx, [rax + MODULE_BASE]
    mov rdx, DIRECT_BASE
    add rcx, rdx
    cmp qword ptr [rax + MODULE_LENGTH], ELF_IDENT
    jb .Lrun_pixel
    cmp dword ptr [rcx], ELF_MAGIC_VALUE
    jne .Lrun_pixel
    mov rsi, r12
    mov rdx, r14
    call run_program
    jmp .Lrun_return
.Lrun_pixel:
    test r14, r14
    jz .Lrun_usage                              # there is no background for it
    mov eax, RUN_FUEL
    test r13, r13
    cmovz r12, rax
    mov eax, r12d
    cmp r12, rax
    jne .Lrun_usage                             # more than 32 bits
    mov rsi, r12
    call run_pixel
.Lrun_return:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
.Lrun_unknown:
    lea rax, [rip + text_no_module]
    jmp .Lrun_error
.Lrun_usage:
    lea rax, [rip + text_run_usage]
.Lrun_error:
    stc
    jmp .Lrun_return
end_function command_run
shell_text text_no_module, "no such module: modules lists them"
shell_text text_run_usage, "expected the name of a module, and fuel or argument; & behind a program of ring 3 alone"
shell_command command_run, "run", "MODULE [NUMBER] [&]", "run a program: of the Pixel VM (its fuel), of ring 3 (its argument)", module_nth

# run_words -- what the words of the command say
# In:       rdi = words:ptr, rsi = count:u64
# Out:      rax = number:u64 (0 without one), rdx = given:u64[0..1], rcx = wait:u64[0..1], cf = they make no sense
# Clobbers: rsi, rdi
# Context:  long mode
local_function run_words
    call_frame
    push rbx
    push r12
    mov rbx, rdi
    mov r12, rsi
    xor eax, eax
    xor edx, edx
    mov ecx, 1
    cmp r12, 1
    jb .Lwords_return
    mov rdi, [rbx + r12 * 8 - 8]
    cmp word ptr [rdi], '&'                     # the character and the zero
    jne .Lwords_number
    xor ecx, ecx
    dec r12
.Lwords_number:
    cmp r12, 1
    je .Lwords_return                           # cf is clear
    cmp r12, 2
    jne .Lwords_refused
    mov rdi, [rbx + 8]
    call words_number
    mov edx, 1                                  # leaves cf alone
.Lwords_return:
    pop r12
    pop rbx
    return_frame
.Lwords_refused:
    stc
    jmp .Lwords_return
end_function run_words

# run_pixel -- run a program of the Pixel VM
# In:       rdi = module:ptr (MODULE_*), esi = fuel:u32
# Out:      rax = reason:asciz, cf = refused
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a command
local_function run_pixel
    call_frame
    push rbx
    push r12
    push r13
    push r13
    mov r12d, esi
    mov rcx, DIRECT_BASE
    mov rsi, qword ptr [rdi + MODULE_LENGTH]
    mov rdi, qword ptr [rdi + MODULE_BASE]
    add rdi, rcx
    mov edx, r12d
    call vm_load
    jc .Lpixel_refused
    mov rbx, rax
    mov rdi, rbx
    call vm_serve
    mov r13d, eax
    call vm_screen_close
    mov rdi, rbx
    mov esi, r13d
    mov edx, r12d
    call run_say
    mov rdi, rbx
    call heap_free
    clc
.Lpixel_return:
    pop r13
    pop r13
    pop r12
    pop rbx
    return_frame
.Lpixel_refused:
    cmp rax, ERROR_NO_MEMORY
    lea rax, [rip + text_no_memory]
    je .Lpixel_error
    lea rax, [rip + text_no_program]
.Lpixel_error:
    stc
    jmp .Lpixel_return
end_function run_pixel
shell_text text_no_memory, "no memory for this program"
shell_text text_no_program, "this module is no program that runs here: expected ELF64, or PXVM, version 1"

# run_say -- why a machine stopped, where, and what it cost
# In:       rdi = machine:ptr, esi = stop:u32, edx = fuel:u32 (that it had)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, GS base set
local_function run_say
    call_frame
    push rbx
    push r12
    push r13
    push r13
    mov rbx, rdi
    mov r12d, edx
    lea r13, [rip + stop_names]
.Lsay_stop:
    cmp qword ptr [r13], 0
    je .Lsay_begin
    cmp qword ptr [r13], rsi
    je .Lsay_begin
    add r13, 16
    jmp .Lsay_stop
.Lsay_begin:
    lea rdi, [rip + name_run]
    call out_begin
    lea rdi, [rip + key_stop]
    mov rsi, qword ptr [r13 + 8]
    call out_text
    lea rdi, [rip + key_result]
    mov esi, dword ptr [rbx + VM_RESULT]
    call out_number
    lea rdi, [rip + key_pc]
    mov esi, dword ptr [rbx + VM_PC]
    call out_number
    lea rdi, [rip + key_fuel]
    mov esi, r12d
    sub esi, dword ptr [rbx + VM_FUEL]
    call out_number
    call out_end
    pop r13
    pop r13
    pop r12
    pop rbx
    return_frame
end_function run_say
shell_text name_run, "run"
shell_text key_stop, "stop"
shell_text key_result, "result"
shell_text key_pc, "pc"
shell_text key_fuel, "fuel"
