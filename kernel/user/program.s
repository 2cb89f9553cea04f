# Purpose:  programs: an address space with an image in it, started, watched, given back.
# Mode:     64-bit long mode
# Spec:     System V ABI (gABI) 4.1, chapter 5 (program loading)
# Exports:  program_create program_load program_start program_wait program_stop program_free program_first
# Invariants: made and given back by the background thread of the boot CPU. An image is loaded when elf_check has passed it,
#           and never followed beyond what that has seen; each segment has its own rights before the first thread
#           runs. A program goes when nothing is left of its threads.
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "layout.inc"
.include "percpu.inc"
.include "syscall.inc"
.include "user.inc"
.include "elf.inc"

.set CHAR_INTERRUPT, 3                          # Ctrl-C
.set CHAR_ESCAPE, 27                            # where the terminal keeps Ctrl-C for itself

.section .text, "ax"

# program_create -- a program without threads, its address space empty
# In:       rdi = name:asciz (is copied, cut to PROGRAM_NAME_SIZE - 1)
# Out:      rax = program:ptr or error code, cf = ERROR_NO_MEMORY
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, any IF, GS base set; by the background thread of the boot CPU
function program_create
    call_frame
    push rbx
    push r12
    mov r12, rdi
    mov edi, PROGRAM_SIZE
    xor esi, esi
    call heap_alloc_zeroed
    jc .Lcreate_return
    mov rbx, rax
    call space_create
    jc .Lcreate_no_space
    mov [rbx + PROGRAM_SPACE], rax
    mov rax, USER_MAP_FIRST
    mov [rbx + PROGRAM_MAP_NEXT], rax
    mov qword ptr [rbx + PROGRAM_UNTIL], -1
    mov eax, dword ptr gs:[PERCPU_ID]
    mov [rbx + PROGRAM_HOME], rax
    mov rax, [rip + program_last_id]
    inc rax
    mov [rip + program_last_id], rax
    mov [rbx + PROGRAM_ID], rax
    lea rdi, [rbx + PROGRAM_NAME]
    mov ecx, PROGRAM_NAME_SIZE - 1
.Lcreate_name:
    mov al, [r12]
    mov [rdi], al
    inc r12
    inc rdi
    test al, al
    jz .Lcreate_named
    dec ecx
    jnz .Lcreate_name
.Lcreate_named:
    mov rax, [rip + program_first]
    mov [rbx + PROGRAM_NEXT], rax
    mov [rip + program_first], rbx
    mov rax, rbx
    clc
.Lcreate_return:
    pop r12
    pop rbx
    return_frame
.Lcreate_no_space:
    mov r12, rax
    mov rdi, rbx
    call heap_free
    mov rax, r12
    stc
    jmp .Lcreate_return
end_function program_create

# program_load -- put the segments of an image into a program's address space
# In:       rdi = program:ptr (of program_create), rsi = image:ptr, rdx = length:u64
# Out:      rax = error:u64 (ERROR_*), rdx = reason:u64 (ELF_*, with ERROR_MALFORMED), cf = refused: ERROR_MALFORMED,
#           ERROR_NO_MEMORY; what was mapped goes with the program
# Clobbers: rcx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, any IF, GS base set; by the background thread
function program_load
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov rbx, rdi
    mov r12, rsi
    mov rdi, rsi
    mov rsi, rdx
    call elf_check
    jc .Lload_malformed
    mov [rbx + PROGRAM_PAGES], rdx
    mov rax, [r12 + ELF_ENTRY_AT]
    mov [rbx + PROGRAM_ENTRY], rax
    movzx r14d, word ptr [r12 + ELF_COUNT]
    mov r13, [r12 + ELF_PLACE]
    add r13, r12
    mov rdi, [rbx + PROGRAM_SPACE]
    call space_switch                           # the copies go through the addresses that the program will use
.Lload_segment:
    cmp dword ptr [r13 + ELF_SEGMENT_TYPE_AT], ELF_SEGMENT_LOAD
    jne .Lload_next
    mov rdi, rbx
    mov rsi, r13
    mov rdx, r12
    call program_load_segment
    jc .Lload_done
.Lload_next:
    add r13, ELF_SEGMENT_SIZE
    dec r14d
    jnz .Lload_segment
    xor eax, eax
.Lload_done:
    sbb r14d, r14d                              # cf, meanwhile
    mov r13, rax
    xor edi, edi
    call space_switch
    mov rax, r13
    xor edx, edx
    add r14d, r14d
.Lload_return:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
.Lload_malformed:
    mov edx, eax
    mov eax, ERROR_MALFORMED
    stc
    jmp .Lload_return
end_function program_load

# program_load_segment -- map one segment, fill it, give it its rights
# In:       rdi = program:ptr (its space is loaded), rsi = segment:ptr (that elf_check has passed), rdx = image:ptr
# Out:      rax = error:u64, cf = refused: ERROR_NO_MEMORY
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, any IF, GS base set
local_function program_load_segment
    call_frame
    push rbx
    push r12
    push r13
    push r14
    push r15
    push r15
    mov rbx, rdi
    mov r12, rsi
    mov r13, rdx
    mov r14, [r12 + ELF_SEGMENT_ADDRESS]
    mov r15, r14
    add r15, [r12 + ELF_SEGMENT_MEMORY]
    test byte ptr [r12 + ELF_SEGMENT_RIGHTS], ELF_RIGHT_EXECUTE
    jz .Lsegment_map
    cmp qword ptr [rbx + PROGRAM_TEXT_FIRST], 0
    jne .Lsegment_text
    mov [rbx + PROGRAM_TEXT_FIRST], r14         # segments ascend
.Lsegment_text:
    mov [rbx + PROGRAM_TEXT_END], r15
.Lsegment_map:
    and r14, ~PAGE_MASK
    add r15, PAGE_MASK
    and r15, ~PAGE_MASK
    sub r15, r14
    mov rdi, [rbx + PROGRAM_SPACE]
    mov rsi, r14
    mov rcx, r15
    mov r8, PTE_WRITE | PTE_NX
    call space_alloc
    jc .Lsegment_return
    mov rdi, [r12 + ELF_SEGMENT_ADDRESS]
    mov rsi, [r12 + ELF_SEGMENT_PLACE]
    add rsi, r13
    mov rdx, [r12 + ELF_SEGMENT_FILE]
    call copy_to_user
    jc .Lsegment_return
    mov edi, [r12 + ELF_SEGMENT_RIGHTS]
    shr edi, 1                                  # write, execute: as RIGHTS_* but for their order
    mov eax, edi
    and edi, RIGHTS_WRITE
    test byte ptr [r12 + ELF_SEGMENT_RIGHTS], ELF_RIGHT_EXECUTE
    jz .Lsegment_rights
    or edi, RIGHTS_EXECUTE
.Lsegment_rights:
    call user_rights
    mov r8, rax
    mov rdi, [rbx + PROGRAM_SPACE]
    mov rsi, r14
    mov rcx, r15
    call space_protect
.Lsegment_return:
    pop r15
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function program_load_segment

# program_start -- a program's first thread
# In:       rdi = program:ptr (loaded), rsi = argument:u64
# Out:      rax = thread:u64 (its number) or error code, rdx = ppm:u64 (with ERROR_OVERLOAD), cf = refused: as
#           user_thread_create, and ERROR_TIMEOUT (the timer does not come)
# Clobbers: rcx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, any IF (on while the overhead is measured), GS base set; by the background thread of the boot CPU
function program_start
    call_frame
    push rbx
    push r12
    sub rsp, THREAD_REQUEST_SIZE
    mov rbx, rdi
    mov r12, rsi
    call sched_measure
    jc .Lstart_return
    mov rdi, rbx
    mov rsi, rsp
    mov rax, [rbx + PROGRAM_ENTRY]
    mov [rsp + THREAD_REQUEST_ENTRY], rax
    mov [rsp + THREAD_REQUEST_ARGUMENT], r12
    mov qword ptr [rsp + THREAD_REQUEST_PERIOD], 0
    mov qword ptr [rsp + THREAD_REQUEST_BUDGET], USER_BUDGET
    mov qword ptr [rsp + THREAD_REQUEST_WINDOW], 0
    mov rax, [rbx + PROGRAM_HOME]
    mov [rsp + THREAD_REQUEST_CPU], rax
    call user_thread_create
.Lstart_return:
    lea rsp, [rbp - 0x10]
    pop r12
    pop rbx
    return_frame
end_function program_start

# program_wait -- attend to a program until all its threads have ended; Escape, Ctrl-C or the end of its time ends it
# In:       rdi = program:ptr
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, any IF (on meanwhile), GS base set; by the background thread of the boot CPU
function program_wait
    call_frame
    push rbx
    pushfq
    mov rbx, rdi
.Lwait_look:
    sti
    call user_attend
    call serial_get_char
    jc .Lwait_time
    cmp eax, CHAR_ESCAPE
    je .Lwait_key
    cmp eax, CHAR_INTERRUPT
    jne .Lwait_time                             # other keys are lost, as nobody reads them
.Lwait_key:
    mov ecx, STOP_KILLED
    call program_stop
.Lwait_time:
    call clock_ns
    cmp rax, [rbx + PROGRAM_UNTIL]
    jb .Lwait_count
    mov ecx, STOP_TIME
    call program_stop
.Lwait_count:
    cli                                         # nothing may come between the look and the halt
    cmp qword ptr [rbx + PROGRAM_COUNT], 0
    je .Lwait_done
    cmp qword ptr gs:[PERCPU_USER_WORK], 0
    jne .Lwait_look
    sti                                         # takes effect behind the next instruction
    hlt                                         # its next release wakes this
    jmp .Lwait_look
.Lwait_done:
    popfq
    pop rbx
    return_frame
end_function program_wait

# program_stop -- let a program end, unless it ends already
# In:       rbx = program:ptr, ecx = stop:u32 (STOP_*)
# Out:      none
# Clobbers: rax
# Context:  long mode, any IF
function program_stop
    xor eax, eax
    lock cmpxchg [rbx + PROGRAM_STOP], rcx
    ret
end_function program_stop

# program_free -- give back a program whose threads are gone
# In:       rdi = program:ptr
# Out:      rax = error:u64, cf = refused: ERROR_BUSY (it has threads, or a CPU has its space loaded), ERROR_NOT_FOUND
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, any IF, GS base set; by the background thread of the boot CPU
function program_free
    call_frame
    push rbx
    push r12
    mov rbx, rdi
    mov eax, ERROR_BUSY
    mov rcx, [rbx + PROGRAM_COUNT]
    neg rcx
    jc .Lfree_return
    lea r12, [rip + program_first - PROGRAM_NEXT]
.Lfree_find:
    mov rcx, [r12 + PROGRAM_NEXT]
    mov eax, ERROR_NOT_FOUND
    cmp rcx, 1
    jb .Lfree_return
    cmp rcx, rbx
    je .Lfree_found
    mov r12, rcx
    jmp .Lfree_find
.Lfree_found:
    mov rdi, [rbx + PROGRAM_SPACE]
    call space_destroy
    jc .Lfree_return
    mov rcx, [rbx + PROGRAM_NEXT]
    mov [r12 + PROGRAM_NEXT], rcx
    mov rdi, rbx
    call heap_free
.Lfree_return:
    pop r12
    pop rbx
    return_frame
end_function program_free

.section .bss, "aw", @nobits
    .balign 8
object program_first                            # of all programs, 0 = none
    .skip 8
end_object program_first
program_last_id: .skip 8
