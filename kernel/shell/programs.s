# Purpose:  programs of ring 3 at the shell: run, programs, kill; what is said of one that has ended.
# Mode:     64-bit long mode
# Spec:     include/syscall.inc
# Exports:  run_program programs_collect; rows of section .shell
# Invariants: a program that runs in the background is given back before the next prompt after its end, and that is said.
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "layout.inc"
.include "boot.inc"
.include "percpu.inc"
.include "sched.inc"
.include "user.inc"
.include "shell.inc"

.section .rodata, "a"
    .balign 8
stop_names:     .quad stop_running, stop_exit, stop_killed, stop_time
stop_running:   .asciz "threads-ended"          # and while it has threads: running
stop_exit:      .asciz "exit"
stop_killed:    .asciz "killed"
stop_time:      .asciz "time"

.section .text, "ax"

# run_program -- run an ELF64 module as a program of ring 3
# In:       rdi = module:ptr (MODULE_*), rsi = argument:u64, rdx = wait:u64 (0 = do not wait for its end)
# Out:      rax = reason:asciz, cf = refused
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a command
function run_program
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov r12, rdi
    mov r13, rsi
    mov r14, rdx
    lea rax, [rip + text_no_sched]
    cmp qword ptr gs:[PERCPU_CURRENT], 1
    jb .Lprogram_return
    lea rdi, [r12 + MODULE_NAME]
    call program_create
    jc .Lprogram_no_memory
    mov rbx, rax
    mov rdi, rbx
    mov rsi, [r12 + MODULE_BASE]
    mov rdx, DIRECT_BASE
    add rsi, rdx
    mov rdx, [r12 + MODULE_LENGTH]
    call program_load
    jc .Lprogram_not_loaded
    mov rdi, rbx
    mov rsi, r13
    call program_start
    jc .Lprogram_not_started
    mov rdi, rbx
    test r14, r14
    jz .Lprogram_alone
    call program_wait
    mov rdi, rbx
    call program_end
.Lprogram_done:
    clc
.Lprogram_return:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
.Lprogram_alone:
    lea rsi, [rip + name_run]
    call program_say
    jmp .Lprogram_done
.Lprogram_not_loaded:
    mov r12, rax
    mov r13, rdx
    mov rdi, rbx
    call program_free
    cmp r12d, ERROR_MALFORMED
    jne .Lprogram_no_memory
    mov rdi, r13
    call refusal_say
    jmp .Lprogram_done
.Lprogram_not_started:
    mov r12, rax
    mov rdi, rbx
    call program_free
    lea rax, [rip + text_overload]
    cmp r12d, ERROR_OVERLOAD
    je .Lprogram_refused
    lea rax, [rip + text_no_time]
    cmp r12d, ERROR_NO_MEMORY
    jne .Lprogram_refused
.Lprogram_no_memory:
    lea rax, [rip + text_no_memory]
.Lprogram_refused:
    stc
    jmp .Lprogram_return
end_function run_program
shell_text name_run, "run"
shell_text text_no_sched, "this CPU has no timer, and runs no programs for that reason"
shell_text text_no_memory, "no memory for this program"
shell_text text_overload, "no time for this program: sched says by how much (refused_ppm)"
shell_text text_no_time, "the scheduler takes no thread: its timer does not come, or there are too many"

# refusal_say -- why an image is not loaded
# In:       rdi = reason:u64 (ELF_*)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, GS base set
local_function refusal_say
    call_frame
    push rbx
    push rbx
    mov rbx, rdi
    lea rdi, [rip + name_run]
    call out_begin
    lea rdi, [rip + key_error]
    lea rsi, [rip + elf_reasons - 8]
    mov rsi, [rsi + rbx * 8]
    call out_text
    lea rdi, [rip + key_code]
    mov rsi, rbx
    call out_number
    call out_end
    pop rbx
    pop rbx
    return_frame
end_function refusal_say
shell_text key_error, "error"
shell_text key_code, "code"

# program_say -- an object about one program
# In:       rdi = program:ptr, rsi = command:asciz
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, GS base set
local_function program_say
    call_frame
    push rbx
    push rbx
    mov rbx, rdi
    mov rdi, rsi
    call out_begin
    mov rdi, rbx
    call program_fields
    call out_end
    pop rbx
    pop rbx
    return_frame
end_function program_say

# program_fields -- what is said of a program
# In:       rdi = program:ptr
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, GS base set, after out_begin
local_function program_fields
    call_frame
    push rbx
    push rbx
    mov rbx, rdi
    lea rdi, [rip + key_id]
    mov rsi, [rbx + PROGRAM_ID]
    call out_number
    lea rdi, [rip + key_name]
    lea rsi, [rbx + PROGRAM_NAME]
    call out_text
    lea rdi, [rip + key_stop]
    mov rax, [rbx + PROGRAM_STOP]
    lea rsi, [rip + stop_names]
    mov rsi, [rsi + rax * 8]
    cmp qword ptr [rbx + PROGRAM_COUNT], 0
    je .Lfields_stop
    lea rsi, [rip + text_running]
.Lfields_stop:
    call out_text
    lea rdi, [rip + key_result]
    mov rsi, [rbx + PROGRAM_RESULT]
    call out_number
    lea rdi, [rip + key_faults]
    mov rsi, [rbx + PROGRAM_FAULTS]
    call out_number
    lea rdi, [rip + key_threads]
    mov rsi, [rbx + PROGRAM_MADE]
    call out_number
    lea rdi, [rip + key_pages]
    mov rsi, [rbx + PROGRAM_PAGES]
    call out_number
    lea rdi, [rip + key_calls]
    mov rsi, [rbx + PROGRAM_CALLS]
    call out_number
    lea rdi, [rip + key_forwarded]
    mov rsi, [rbx + PROGRAM_FORWARDED]
    call out_number
    pop rbx
    pop rbx
    return_frame
end_function program_fields
shell_text key_id, "id"
shell_text key_name, "name"
shell_text key_stop, "stop"
shell_text key_result, "result"
shell_text key_faults, "faults"
shell_text key_threads, "threads"
shell_text key_pages, "pages"
shell_text key_calls, "calls"
shell_text key_forwarded, "forwarded"
shell_text text_running, "running"

# program_end -- say how a program ended, and give it back
# In:       rdi = program:ptr (its threads are gone)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, GS base set; by the background thread of the boot CPU
local_function program_end
    call_frame
    push rbx
    push rbx
    mov rbx, rdi
    lea rsi, [rip + name_run]
    call program_say
.Lend_free:
    mov rdi, rbx
    call program_free                           # busy: the CPU of its last thread is about to leave its space
    jnc .Lend_return
    pause
    cmp rax, ERROR_BUSY
    je .Lend_free
.Lend_return:
    pop rbx
    pop rbx
    return_frame
end_function program_end

# programs_collect -- give back the programs that have ended in the background, and say so
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts on, GS base set; by the shell, before a prompt
function programs_collect
    call_frame
    push rbx
    push r12
    call user_attend
    mov rbx, [rip + program_first]
.Lcollect_next:
    test rbx, rbx
    jz .Lcollect_done
    mov r12, [rbx + PROGRAM_NEXT]
    cmp qword ptr [rbx + PROGRAM_COUNT], 0
    jne .Lcollect_advance
    mov rdi, rbx
    call program_end
.Lcollect_advance:
    mov rbx, r12
    jmp .Lcollect_next
.Lcollect_done:
    pop r12
    pop rbx
    return_frame
end_function programs_collect

# command_programs -- programs: those that run
# In:       rdi = words:ptr, rsi = count:u64
# Out:      rax = reason:asciz, cf = refused
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a command
local_function command_programs
    call_frame
    push rbx
    push rbx
    lea rdi, [rip + name_programs]
    call out_begin
    lea rdi, [rip + name_programs]
    call out_list
    mov rbx, [rip + program_first]
.Lprograms_row:
    test rbx, rbx
    jz .Lprograms_end
    call out_row
    mov rdi, rbx
    call program_fields
    call out_row_end
    mov rbx, [rbx + PROGRAM_NEXT]
    jmp .Lprograms_row
.Lprograms_end:
    call out_list_end
    call out_end
    clc
    pop rbx
    pop rbx
    return_frame
end_function command_programs
shell_text name_programs, "programs"
shell_command command_programs, "programs", "", "the programs of ring 3 that run"

# command_kill -- kill ID: end a program
# In:       rdi = words:ptr, rsi = count:u64
# Out:      rax = reason:asciz, cf = refused
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a command
local_function command_kill
    call_frame
    push rbx
    push rbx
    lea rax, [rip + text_kill_usage]
    cmp rsi, 1
    jne .Lkill_refused
    mov rdi, [rdi]
    call words_number
    mov rcx, rax
    lea rax, [rip + text_kill_usage]
    jc .Lkill_return
    mov rbx, [rip + program_first]
.Lkill_find:
    lea rax, [rip + text_no_program]
    test rbx, rbx
    jz .Lkill_refused
    cmp [rbx + PROGRAM_ID], rcx
    je .Lkill_found
    mov rbx, [rbx + PROGRAM_NEXT]
    jmp .Lkill_find
.Lkill_found:
    mov ecx, STOP_KILLED
    call program_stop
    mov rdi, rbx
    call program_wait
    lea rsi, [rip + name_kill]
    mov rdi, rbx
    call program_say
    clc
    jmp .Lkill_return
.Lkill_refused:
    stc
.Lkill_return:
    pop rbx
    pop rbx
    return_frame
end_function command_kill
shell_text name_kill, "kill"
shell_text text_kill_usage, "expected the id of a program: programs lists them"
shell_text text_no_program, "no such program: programs lists them"
shell_command command_kill, "kill", "ID", "end a program"
