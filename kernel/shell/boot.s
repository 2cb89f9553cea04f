# Purpose:  commands of the shell about the boot and its tests: units, test.
# Mode:     64-bit long mode
# Exports:  rows of section .shell
.intel_syntax noprefix
.include "macros.inc"
.include "contract.inc"
.include "boot.inc"
.include "shell.inc"

.section .text, "ax"

# command_units -- units: what the boot units said, and how long each took
# In:       rdi = words:ptr, rsi = count:u64
# Out:      rax = reason:asciz, cf = refused
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a command
local_function command_units
    call_frame
    push rbx
    push r12
    push r13
    push r13
    lea rdi, [rip + name_units]
    call out_begin
    lea rdi, [rip + key_units]
    call out_list
    lea rbx, [rip + boot_unit_table]
    lea r12, [rip + boot_unit_log]
    mov r13, qword ptr [rip + boot_unit_count]
.Lunits_row:
    dec r13
    js .Lunits_end
    mov rax, qword ptr [r12 + UNIT_LOG_STATE]
    test rax, rax
    jz .Lunits_next
    call out_row
    lea rdi, [rip + key_name]
    mov rsi, qword ptr [rbx + BOOT_ROW_NAME]
    call out_text
    lea rdi, [rip + key_state]
    mov rsi, qword ptr [r12 + UNIT_LOG_STATE]
    inc rsi                                     # behind its blank
    call out_text
    lea rdi, [rip + key_start]
    mov rsi, qword ptr [r12 + UNIT_LOG_START]
    call out_number
    lea rdi, [rip + key_ticks]
    mov rsi, qword ptr [r12 + UNIT_LOG_END]
    sub rsi, qword ptr [r12 + UNIT_LOG_START]
    call out_number
    call out_row_end
.Lunits_next:
    add rbx, BOOT_ROW_SIZE
    add r12, BOOT_ROW_SIZE
    jmp .Lunits_row
.Lunits_end:
    call out_list_end
    call out_end
    clc
    pop r13
    pop r13
    pop r12
    pop rbx
    return_frame
end_function command_units
shell_text name_units, "units"
shell_text key_units, "units"
shell_text key_name, "name"
shell_text key_state, "state"
shell_text key_start, "start"
shell_text key_ticks, "ticks"
shell_command command_units, "units", "", "the boot units and how long each took, in ticks of the TSC"

# command_test -- test [NAME]: the in-kernel tests, as KTAP
# In:       rdi = words:ptr, rsi = count:u64
# Out:      rax = reason:asciz, cf = refused
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a command
local_function command_test
    call_frame
    push rbx
    push rbx
    xor ebx, ebx                                # the row of the one test, 0 = all
    test rsi, rsi
    jz .Ltest_run
    mov rdi, qword ptr [rdi]
    call ktap_find
    jc .Ltest_unknown
    mov rbx, rax
.Ltest_run:
    call test_give_screen
    test rbx, rbx
    jz .Ltest_all
    mov rdi, rbx
    call ktap_run_one
    jmp .Ltest_say
.Ltest_all:
    call ktap_run
.Ltest_say:
    mov rbx, rax
    call console_start
    lea rdi, [rip + name_test]
    call out_begin
    lea rdi, [rip + key_failed]
    mov rsi, rbx
    call out_number
    call out_end
    clc
.Ltest_return:
    pop rbx
    pop rbx
    return_frame
.Ltest_unknown:
    lea rax, [rip + text_no_test]
    stc
    jmp .Ltest_return
end_function command_test
shell_text name_test, "test"
shell_text key_failed, "failed"
shell_text text_no_test, "no such test: Tab behind test shows them"
shell_command command_test, "test", "[NAME]", "run the in-kernel tests, or one of them", ktap_nth

# test_give_screen -- the tests find the screen as the boot left it, with its picture
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set
local_function test_give_screen
    cmp byte ptr [rip + console_on], 0
    je .Lscreen_return
    call_frame
    mov byte ptr [rip + console_on], 0
    call picture_draw
    pop rbp
.Lscreen_return:
    ret
end_function test_give_screen
