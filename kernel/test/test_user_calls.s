# Purpose:  tests of ring 3: what the system calls give and refuse, threads on all processors, x87 and SSE state of each.
# Mode:     64-bit long mode
# Spec:     include/syscall.inc
# Exports:  rows of section .ktap
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"
.include "check.inc"
.include "errors.inc"
.include "mailbox.inc"
.include "registers.inc"
.include "percpu.inc"
.include "sched.inc"
.include "user.inc"
.include "test/user_image.inc"

.set KERNEL_ADDRESS, 0xffffffff80101000
.set THREADS_REFUSED, 0x100                     # and the error code: why a thread was not made
.set THREADS_TURNS, PAGE_SIZE - 8
.set TURNS, 4                                   # each with the other thread of the CPU, and the background thread, between
.set WORKER_BUDGET, 5                           # per cent

.section .text, "ax"

# what MAP gives can be used until UNMAP; what nobody may have is refused
user_image image_memory
    mov edi, 3 * PAGE_SIZE - 5
    mov esi, RIGHTS_WRITE
    user_call MAP
    user_test_expect nc, 1
    mov rbx, rax
    test eax, PAGE_MASK
    user_test_expect z, 2
    mov ecx, 3 * PAGE_SIZE / 8
    mov rdi, rbx
    xor eax, eax
    repe scasq
    user_test_expect e, 3                       # cleared
    mov [rbx + 3 * PAGE_SIZE - 8], rbx
    mov rdi, rbx
    mov esi, 3 * PAGE_SIZE
    mov edx, RIGHTS_EXECUTE
    user_call PROTECT
    user_test_expect nc, 4
    mov edx, RIGHTS_WRITE
    user_call PROTECT
    user_test_expect nc, 5
    mov dword ptr [rbx], 0xc3f8                 # clc; ret
    mov edx, RIGHTS_EXECUTE
    user_call PROTECT
    user_test_expect nc, 6
    call rbx
    user_test_expect nc, 7
    mov edx, RIGHTS_WRITE | RIGHTS_EXECUTE
    user_call PROTECT
    user_test_expect c, 8
    lea rdi, [rbx + PAGE_SIZE]
    mov esi, PAGE_SIZE
    user_call UNMAP
    user_test_expect nc, 9
    user_call UNMAP
    user_test_expect c, 10                      # twice
    cmp eax, ERROR_NOT_MAPPED
    user_test_expect e, 11
    lea rdi, [rip]
    and rdi, ~PAGE_MASK
    user_call UNMAP
    user_test_expect c, 12                      # its own text
    mov rdi, rsp
    and rdi, ~PAGE_MASK
    user_call UNMAP
    user_test_expect c, 13                      # its own stack
    mov rdi, DIRECT_BASE
    user_call UNMAP
    user_test_expect c, 14
    xor edi, edi
    mov esi, RIGHTS_WRITE
    user_call MAP
    user_test_expect c, 15
    mov rdi, -1
    user_call MAP
    user_test_expect c, 16
    mov edi, (USER_CALL_PAGES + 1) << PAGE_SHIFT
    user_call MAP
    user_test_expect c, 20                      # more than in one call
    mov r12d, USER_PAGES_MAX / USER_CALL_PAGES
    mov edi, USER_CALL_PAGES << PAGE_SHIFT
.Lmemory_more:
    dec r12d
    user_test_expect ns, 17                     # more than there is
    user_call MAP
    jnc .Lmemory_more
    cmp eax, ERROR_NO_MEMORY
    user_test_expect e, 18
    mov edi, PAGE_SIZE
    mov esi, RIGHTS_WRITE | RIGHTS_EXECUTE
    user_call MAP
    user_test_expect c, 19
    mov edi, TEST_CODE
    user_call EXIT
user_image_end image_memory

# test_user_memory -- MAP, PROTECT and UNMAP
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_user_memory
    user_test_begin
    user_test image_memory, 0, STOP_EXIT, TEST_CODE, 0
    user_test_end
end_function test_user_memory
ktap_test test_user_memory, "user_memory_calls"

# pointers that are none of ring 3's, or lead nowhere; requests and numbers that make no sense
user_image image_pointers
    lea r13, [rip + .Lpointers]
    lea r14, [rip + .Lpointers_end]
.Lpointers_next:
    mov rdi, [r13]
    user_call THREAD_CREATE
    user_test_expect c, 1
    mov eax, MAILBOX_CALL_LOG
    mov rdi, [r13]
    mov esi, 16
    syscall
    user_test_expect c, 2
    add r13, 8
    cmp r13, r14
    jb .Lpointers_next
    mov eax, MAILBOX_CALL_LOG
    lea rdi, [rip + .Lpointers]
    mov esi, CALL_TEXT_MAX + 1
    syscall
    user_test_expect c, 3
    mov rax, 1 << 32                            # no 32-bit number
    syscall
    user_test_expect c, 4
    mov rax, -1
    syscall
    user_test_expect c, 5
    sub rsp, THREAD_REQUEST_SIZE                # a request on the stack
    mov rdi, rsp
    mov rax, -1 << 47
    mov [rdi + THREAD_REQUEST_ENTRY], rax
    mov qword ptr [rdi + THREAD_REQUEST_PERIOD], 0
    mov qword ptr [rdi + THREAD_REQUEST_BUDGET], 1
    mov qword ptr [rdi + THREAD_REQUEST_CPU], -1
    user_call THREAD_CREATE
    user_test_expect c, 6                       # an entry that is not canonical
    lea rax, [rip]
    mov [rdi + THREAD_REQUEST_ENTRY], rax
    mov qword ptr [rdi + THREAD_REQUEST_BUDGET], 101
    user_call THREAD_CREATE
    user_test_expect c, 7
    mov qword ptr [rdi + THREAD_REQUEST_PERIOD], -1
    user_call THREAD_CREATE
    user_test_expect c, 8
    mov rax, 1 << 40                            # it would not see for long that it is to end
    mov [rdi + THREAD_REQUEST_PERIOD], rax
    mov qword ptr [rdi + THREAD_REQUEST_BUDGET], 1000
    user_call THREAD_CREATE
    user_test_expect c, 13
    cmp eax, ERROR_INVALID
    user_test_expect e, 14
    mov qword ptr [rdi + THREAD_REQUEST_PERIOD], 10000000
    mov qword ptr [rdi + THREAD_REQUEST_BUDGET], 10000000
    user_call THREAD_CREATE
    user_test_expect c, 9
    cmp eax, ERROR_OVERLOAD
    user_test_expect e, 10
    cmp rdx, PPM
    user_test_expect a, 11
    mov qword ptr [rdi + THREAD_REQUEST_CPU], 64
    user_call THREAD_CREATE
    user_test_expect c, 12
    mov edi, TEST_CODE
    user_call EXIT
    .balign 8
.Lpointers:
    .quad 0, 8, PAGE_SIZE, USER_FIRST - 8, USER_FIRST, USER_END - 8, USER_END, -8, -1
    .quad KERNEL_ADDRESS, DIRECT_BASE, 1 << 47, (1 << 47) - 4, USER_STACK_AREA, USER_MAP_FIRST
.Lpointers_end:
user_image_end image_pointers

# test_user_pointers -- addresses that ring 3 must not name, requests that make no sense
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_user_pointers
    user_test_begin
    user_test image_pointers, 0, STOP_EXIT, TEST_CODE, 0
    user_test_end
end_function test_user_pointers
ktap_test test_user_pointers, "user_pointers_are_checked"

# a call that the kernel does not know: the service's answer, or ERROR_UNSUPPORTED where there is none
user_image image_forward
    mov rbx, rdi                                # whether there is a service
    mov eax, MAILBOX_CALL_VERSION
    xor edi, edi
    xor esi, esi
    syscall
    jc .Lforward_refused
    test ebx, ebx
    user_test_expect nz, 1
    cmp rax, MAILBOX_VERSION
    user_test_expect e, 2
    mov eax, 0xfff                              # none of the service's either
    syscall
    user_test_expect c, 3
    cmp edx, MAILBOX_ERROR_NOT_SUPPORTED
    user_test_expect e, 4
    jmp .Lforward_done
.Lforward_refused:
    cmp eax, ERROR_UNSUPPORTED
    user_test_expect e, 5
    test ebx, ebx
    user_test_expect z, 6
.Lforward_done:
    mov edi, TEST_CODE
    user_call EXIT
user_image_end image_forward

# test_user_forward -- what the kernel does not know goes to the GPU service, if there is one
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_user_forward
    user_test_begin
    lea rdi, [rip + image_forward]
    lea rsi, [rip + image_forward_end]
    xor edx, edx
    cmp qword ptr [rip + session_control], rdx
    setne dl
    mov ecx, STOP_EXIT
    mov r8d, TEST_CODE
    xor r9d, r9d
    call user_test_judge
    user_test_end
end_function test_user_forward
ktap_test test_user_forward, "user_calls_go_to_the_service"

# two threads on each processor, each with its own numbers in x87 and SSE registers, which must stay while the others run
user_image image_threads
    mov r12d, edi                               # twice the processors
    shr rdi, 32
    mov r14, rdi                                # turns
    mov edi, PAGE_SIZE
    mov esi, RIGHTS_WRITE
    user_call MAP
    user_test_expect nc, 1
    mov r13, rax                                # a quadword for each thread; the last one says how many turns
    mov [r13 + THREADS_TURNS], r14
    sub rsp, THREAD_REQUEST_SIZE + 16
    xor ebx, ebx
.Lthreads_make:
    mov rdi, rsp
    lea rax, [rip + .Lthreads_entry]
    mov [rdi + THREAD_REQUEST_ENTRY], rax
    lea rax, [r13 + rbx * 8]
    mov [rdi + THREAD_REQUEST_ARGUMENT], rax
    mov qword ptr [rdi + THREAD_REQUEST_PERIOD], 0
    mov qword ptr [rdi + THREAD_REQUEST_BUDGET], WORKER_BUDGET
    mov qword ptr [rdi + THREAD_REQUEST_WINDOW], 0
    mov rax, rbx
    shr rax, 1
    mov [rdi + THREAD_REQUEST_CPU], rax
    user_call THREAD_CREATE
    jnc .Lthreads_made
    cmp eax, ERROR_BUSY                         # that CPU does something else just now
    je .Lthreads_again
    cmp eax, ERROR_TIMEOUT                      # or the host has no time for it
    je .Lthreads_again
    lea edi, [rax + THREADS_REFUSED]
    user_call EXIT
.Lthreads_again:
    user_call YIELD
    jmp .Lthreads_make
.Lthreads_made:
    inc rbx
    cmp rbx, r12
    jb .Lthreads_make
    xor ebx, ebx
.Lthreads_wait:
    user_call YIELD
    cmp qword ptr [r13 + rbx * 8], 0
    je .Lthreads_wait
    cmp qword ptr [r13 + rbx * 8], TEST_CODE
    user_test_expect e, 3
    inc rbx
    cmp rbx, r12
    jb .Lthreads_wait
    mov edi, TEST_CODE
    user_call EXIT
.Lthreads_entry:
    mov r12, rdi
    mov r14d, 1                                 # what it says of what it found
    movq rax, xmm5
    test rax, rax
    jnz .Lthreads_end                           # registers of somebody else
    mov [rsp - 16], rdi
    movq xmm5, rdi
    fild qword ptr [rsp - 16]
    mov rax, rdi
    and rax, ~PAGE_MASK
    mov rbx, [rax + THREADS_TURNS]
.Lthreads_turn:
    user_call YIELD
    mov r14d, 2
    movq rax, xmm5
    cmp rax, r12
    jne .Lthreads_end
    dec ebx
    jnz .Lthreads_turn
    mov r14d, 3
    fistp qword ptr [rsp - 16]
    cmp [rsp - 16], r12
    jne .Lthreads_end
    mov r14d, TEST_CODE
.Lthreads_end:
    mov [r12], r14
    user_call THREAD_EXIT
user_image_end image_threads

ktap_text text_background, "XMM register of the background thread"

# test_user_threads -- threads on all processors, in one address space, with registers of their own
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11, xmm5
# Context:  long mode, GS base set; a test
local_function test_user_threads
    user_test_begin
    mov edx, [rip + cpu_online]
    add edx, edx
    mov rax, TURNS << 32
    or rax, rdx
    push rax
    push rax
    mov rax, 1 << 32
    or rdx, rax
    lea rdi, [rip + image_threads]
    lea rsi, [rip + image_threads_end]
    call user_test_run                          # the first time every CPU measures its overhead and makes room
    pop rdx
    pop rdx
    mov rax, KERNEL_ADDRESS
    movq xmm5, rax
    lea rdi, [rip + image_threads]
    lea rsi, [rip + image_threads_end]
    mov ecx, STOP_EXIT
    mov r8d, TEST_CODE
    xor r9d, r9d
    call user_test_judge
    movq rsi, xmm5
    mov rdx, KERNEL_ADDRESS
    lea rdi, [rip + text_background]
    call ktap_check
    user_test_end
end_function test_user_threads
ktap_test test_user_threads, "user_threads_keep_their_registers"
