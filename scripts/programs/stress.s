# Purpose:  load for the kernel from ring 3: rounds of threads on all processors that map, fill, sum, protect and unmap memory,
#           and yield; every sum is known beforehand.
# Mode:     64-bit, ring 3
# Spec:     kernel/include/syscall.inc; the generator is Knuth's MMIX (The Art of Computer Programming, vol. 2, 3.3.4)
# Invariants: seeded: the same argument and number of processors give the same result, whatever the timing. What ends it early
#           is a result below STRESS_SUMS.
#
#   run stress ROUNDS      (0: DEFAULT_ROUNDS)
#   A round: one worker on each processor. A worker: TURNS times some pages of words from its own sequence, their sum read back
#   from memory. Worker n of round r begins with SEED + r * 65536 + n. The first thread adds up the same sums without memory.
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "syscall.inc"

.set SEED, 0x5eed
.set DEFAULT_ROUNDS, 4
.set TURNS, 6
.set PAGES_MASK, 7                              # 1 to 8 pages a turn
.set PAGE_SHIFT, 12
.set WORDS_SHIFT, 9                             # of a page
.set WORKERS_MAX, 64
.set WORKER_BUDGET, 10                          # per cent
.set PATIENCE, 100000                           # yields
.set GENERATOR_FACTOR, 6364136223846793005
.set GENERATOR_TERM, 1442695040888963407
.set STRESS_SUMS, 1 << 32                       # result: this, and 32 bits of all sums

.set END_CREATE, 1                              # results of what went wrong
.set END_LOST, 2
.set END_SUM, 3
.set END_MAP, 4
.set END_DIRTY, 5
.set END_PROTECT, 6
.set END_UNMAP, 7

.section .bss, "aw", @nobits
    .balign 8
sums:           .skip WORKERS_MAX * 8           # of this round's workers
done:           .skip WORKERS_MAX               # not 0: the worker has ended
    .balign 8
request:        .skip THREAD_REQUEST_SIZE

.section .text, "ax"

# program_start -- run the rounds, end with the sum of all
# In:       rdi = rounds:u64
# Out:      none
# Clobbers: none
# Context:  ring 3; does not return
function program_start
    mov r12, rdi
    mov eax, DEFAULT_ROUNDS
    test r12, r12
    cmovz r12, rax
    mov eax, SYSCALL_CPUS
    syscall
    mov r13, rax
    cmp r13, WORKERS_MAX
    jbe .Lstart_go
    mov r13d, WORKERS_MAX
.Lstart_go:
    xor r14d, r14d                              # round
    xor r15d, r15d                              # sum of all
.Lstart_round:
    call round_begin
    call round_wait
    call round_judge
    inc r14
    cmp r14, r12
    jb .Lstart_round
    mov rdi, r15
    shr rdi, 32
    xor edi, r15d
    mov rax, STRESS_SUMS
    or rdi, rax
    jmp stress_end
end_function program_start

# stress_end -- end the program
# In:       rdi = result:u64
# Out:      none
# Clobbers: none
# Context:  ring 3; does not return
function stress_end
    mov eax, SYSCALL_EXIT
    syscall
end_function stress_end

# round_begin -- one worker on each processor
# In:       r13 = workers:u64, r14 = round:u64
# Out:      none
# Clobbers: rax, rbx, rcx, rdx, rsi, rdi, r8, r11
# Context:  ring 3
local_function round_begin
    xor ebx, ebx
    mov r8d, PATIENCE
.Lbegin_worker:
    lea rdi, [rip + done]
    mov byte ptr [rdi + rbx], 0
.Lbegin_again:
    lea rdi, [rip + request]
    lea rax, [rip + worker]
    mov [rdi + THREAD_REQUEST_ENTRY], rax
    mov rax, r14
    shl rax, 16
    or rax, rbx
    mov [rdi + THREAD_REQUEST_ARGUMENT], rax
    mov qword ptr [rdi + THREAD_REQUEST_PERIOD], 0
    mov qword ptr [rdi + THREAD_REQUEST_BUDGET], WORKER_BUDGET
    mov qword ptr [rdi + THREAD_REQUEST_WINDOW], 0
    mov [rdi + THREAD_REQUEST_CPU], rbx
    mov eax, SYSCALL_THREAD_CREATE
    syscall
    jnc .Lbegin_made
    cmp rax, ERROR_INVALID                      # the rest may pass: those of the round before are given back meanwhile
    je .Lbegin_failed
    dec r8d
    jz .Lbegin_failed
    mov eax, SYSCALL_YIELD
    syscall
    jmp .Lbegin_again
.Lbegin_made:
    inc rbx
    cmp rbx, r13
    jb .Lbegin_worker
    ret
.Lbegin_failed:
    mov edi, END_CREATE
    jmp stress_end
end_function round_begin

# round_wait -- wait until all workers have ended
# In:       r13 = workers:u64
# Out:      none
# Clobbers: rax, rbx, rcx, rdx, rdi, r8, r11
# Context:  ring 3
local_function round_wait
    xor ebx, ebx
    mov r8d, PATIENCE
.Lwait_worker:
    lea rdi, [rip + done]
    cmp byte ptr [rdi + rbx], 0
    jne .Lwait_next
    dec r8d
    jz .Lwait_lost
    mov eax, SYSCALL_YIELD
    syscall
    jmp .Lwait_worker
.Lwait_next:
    inc rbx
    cmp rbx, r13
    jb .Lwait_worker
    ret
.Lwait_lost:
    mov edi, END_LOST
    jmp stress_end
end_function round_wait

# round_judge -- each worker's sum must be that of its sequence
# In:       r13 = workers:u64, r14 = round:u64, r15 = sum:u64
# Out:      r15 = sum:u64 (with this round's)
# Clobbers: rax, rbx, rcx, rdx, rsi, rdi, r8, r9, r10
# Context:  ring 3
local_function round_judge
    xor ebx, ebx
.Ljudge_worker:
    mov rdi, r14
    shl rdi, 16
    lea rdi, [rdi + rbx + SEED]                 # the generator
    xor esi, esi                                # the sum
    mov r10d, TURNS
.Ljudge_turn:
    call generator_next
    mov rcx, rdi
    shr rcx, 60
    and ecx, PAGES_MASK
    inc ecx
    shl ecx, WORDS_SHIFT
.Ljudge_word:
    call generator_next
    rol rsi, 1
    add rsi, rdi
    dec ecx
    jnz .Ljudge_word
    dec r10d
    jnz .Ljudge_turn
    lea rax, [rip + sums]
    cmp [rax + rbx * 8], rsi
    jne .Ljudge_wrong
    rol r15, 7
    add r15, rsi
    inc rbx
    cmp rbx, r13
    jb .Ljudge_worker
    ret
.Ljudge_wrong:
    mov edi, END_SUM
    jmp stress_end
end_function round_judge

# generator_next -- the next number of a sequence
# In:       rdi = number:u64
# Out:      rdi = number:u64
# Clobbers: rax
# Context:  ring 3
local_function generator_next
    mov rax, GENERATOR_FACTOR
    imul rdi, rax
    mov rax, GENERATOR_TERM
    add rdi, rax
    ret
end_function generator_next

# worker -- the entry of a worker
# In:       rdi = task:u64 (round * 65536 + worker)
# Out:      none
# Clobbers: none
# Context:  ring 3, a thread of its own; does not return
local_function worker
    movzx r12d, di                              # number
    lea rbx, [rdi + SEED]                       # the generator
    xor r13d, r13d                              # the sum
    mov r14d, TURNS
.Lworker_turn:
    mov rdi, rbx
    call generator_next
    mov rbx, rdi
    mov rcx, rbx
    shr rcx, 60
    and ecx, PAGES_MASK
    inc ecx
    mov r15d, ecx                               # pages
    call worker_turn
    dec r14d
    jnz .Lworker_turn
    lea rax, [rip + sums]
    mov [rax + r12 * 8], r13
    lea rax, [rip + done]
    mov byte ptr [rax + r12], 1                 # behind the sum: stores keep their order
    mov eax, SYSCALL_THREAD_EXIT
    syscall
end_function worker

# worker_turn -- map pages, fill them, add them up, give them back
# In:       rbx = generator:u64, r13 = sum:u64, r15 = pages:u64
# Out:      rbx = generator:u64, r13 = sum:u64
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r11
# Context:  ring 3, in a worker
local_function worker_turn
    mov rdi, r15
    shl rdi, PAGE_SHIFT
    mov esi, RIGHTS_WRITE
    mov eax, SYSCALL_MAP
    syscall
    mov r8, rax
    mov edi, END_MAP
    jc stress_end
    mov ecx, r15d
    shl ecx, WORDS_SHIFT
    xor edx, edx
.Lturn_fill:
    mov edi, END_DIRTY                          # fresh memory is cleared
    cmp qword ptr [r8 + rdx * 8], 0
    jne stress_end
    mov rdi, rbx
    call generator_next
    mov rbx, rdi
    mov [r8 + rdx * 8], rdi
    inc edx
    cmp edx, ecx
    jb .Lturn_fill
    mov eax, SYSCALL_YIELD                      # others run meanwhile
    syscall
    mov rdi, r8
    mov rsi, r15
    shl rsi, PAGE_SHIFT
    mov edx, RIGHTS_READ
    mov eax, SYSCALL_PROTECT
    syscall
    mov edi, END_PROTECT
    jc stress_end
    mov ecx, r15d
    shl ecx, WORDS_SHIFT
    xor edx, edx
.Lturn_add:
    rol r13, 1
    add r13, [r8 + rdx * 8]
    inc edx
    cmp edx, ecx
    jb .Lturn_add
    mov rdi, r8
    mov rsi, r15
    shl rsi, PAGE_SHIFT
    mov eax, SYSCALL_UNMAP
    syscall
    mov edi, END_UNMAP
    jc stress_end
    ret
end_function worker_turn
