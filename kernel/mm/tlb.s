# Purpose:  translations taken back: on the CPU that runs, and on all others that may hold them.
# Mode:     64-bit
# Spec:     Intel SDM vol. 3, 4.10.4.1 (INVLPG, CR4.PGE), 4.10.4.2 (when software must invalidate), 4.10.5 (shoot-down),
#           8.3 (INVLPG serialises: the entries are written before the mask of CPUs is read)
# Exports:  tlb_flush tlb_flush_here tlb_join tlb_leave tlb_answer tlb_interrupt; tlb_cpus and counts
# Invariants: entries of page tables change before the translation goes, never after. A CPU that joined answers: with
#           interrupts on at once, with interrupts off while it waits for a lock of memory management, and else as soon
#           as it turns them on. One that has another space loaded is left alone. page_lock is held from the change to
#           the last answer, so there is one request at a time; nothing else that a CPU could wait for with interrupts
#           off may be held then.
#
#   tlb_request:  +0 va   +8 length   +16 targets: bit n = CPU n is asked   +24 number, written last
#   tlb_answers:  for each CPU the number of the request that it answered last: an answer that comes after its request
#                 was given up is taken for no other's
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "layout.inc"
.include "percpu.inc"
.include "apic.inc"
.include "space.inc"

.set TLB_PAGES_MAX, 32                          # from here on dropping everything is cheaper
.set TLB_CPUS_MAX, 64
.set TLB_WAIT_DEFAULT, 0x4000000                # a second or more
.set TLB_VA, 0x00
.set TLB_LENGTH, 0x08
.set TLB_TARGETS, 0x10
.set TLB_NUMBER, 0x18
.set TLB_REQUEST_SIZE, 0x20

.section .text, "ax"

# tlb_flush -- drop the translations of a range of the address space that is worked on, on every CPU that may hold them
# In:       rdi = va:u64, rsi = length:u64 (bytes)
# Out:      rax = error:u64, cf = a CPU did not answer, which is counted: ERROR_TIMEOUT
# Clobbers: none
# Context:  long mode, page_lock held, the entries changed already
function tlb_flush
    call_frame
    push rcx
    push rdx
    push rdi
    push rsi
    call tlb_flush_here
    mov rdx, [rip + tlb_cpus]
    mov rax, gs:[PERCPU_FOCUS]
    test rax, rax
    jz .Lflush_mask
    and rdx, [rax + SPACE_CPUS]                 # who has another space loaded holds none of them
.Lflush_mask:
    mov ecx, gs:[PERCPU_ID]
    btr rdx, rcx
    xor eax, eax
    test rdx, rdx
    jz .Lflush_leave
    call tlb_shoot
.Lflush_leave:
    pop rsi
    pop rdi
    pop rdx
    pop rcx
    return_frame
end_function tlb_flush

# tlb_shoot -- ask other CPUs to drop the translations of a range, and wait until they have
# In:       rdi = va:u64, rsi = length:u64 (bytes), rdx = cpus:u64 (mask, not 0, not this one)
# Out:      rax = error:u64, cf = a CPU did not answer: ERROR_TIMEOUT
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, page_lock held
local_function tlb_shoot
    call_frame
    push rbx
    push r12
    push r8
    push r8
    mov r12, rdx
    lea rbx, [rip + tlb_request]
    inc qword ptr [rip + tlb_shoots]
    mov [rbx + TLB_VA], rdi
    mov [rbx + TLB_LENGTH], rsi
    mov [rbx + TLB_TARGETS], rdx
    inc qword ptr [rbx + TLB_NUMBER]            # from here on it may be answered
.Lshoot_send:
    bsf rcx, rdx
    jz .Lshoot_sent
    btr rdx, rcx
    push rdx
    push rdx
    lea rdi, [rip + tlb_apic_ids]
    mov edi, [rdi + rcx * 4]
    mov esi, VECTOR_IPI_TLB
    call ipi_send                               # one that is lost shows in the wait
    pop rdx
    pop rdx
    jmp .Lshoot_send
.Lshoot_sent:
    mov rdx, r12
    call tlb_wait
    jnc .Lshoot_leave
    lock or [rip + tlb_late], rdx               # whenever they come back, they drop everything
    inc qword ptr [rip + tlb_timeouts]
    mov eax, ERROR_TIMEOUT
    stc
.Lshoot_leave:
    pop r8
    pop r8
    pop r12
    pop rbx
    return_frame
end_function tlb_shoot

# tlb_wait -- wait until CPUs have answered the request
# In:       rdx = cpus:u64 (mask), rbx = request:ptr
# Out:      rax = 0, rdx = cpus:u64 (who has not answered), cf = some have not
# Clobbers: rcx, rsi, rdi, r8
# Context:  long mode, page_lock held
local_function tlb_wait
    mov rsi, [rip + tlb_wait_max]
    lea r8, [rip + tlb_answers]
    mov rax, [rbx + TLB_NUMBER]
.Lwait_round:
    mov rdi, rdx
.Lwait_next:
    bsf rcx, rdi
    jz .Lwait_counted
    btr rdi, rcx
    cmp [r8 + rcx * 8], rax
    jne .Lwait_next
    btr rdx, rcx
    jmp .Lwait_next
.Lwait_counted:
    xor eax, eax
    test rdx, rdx
    jz .Lwait_leave                             # test leaves cf clear
    mov rax, [rbx + TLB_NUMBER]
    pause
    dec rsi
    jnz .Lwait_round
    xor eax, eax
    stc
.Lwait_leave:
    ret
end_function tlb_wait

# tlb_answer -- do what another CPU asks of this one, if it does
# In:       none
# Out:      none
# Clobbers: none
# Context:  long mode, interrupts off, GS base set
function tlb_answer
    call_frame
    push rax
    push rbx
    push rcx
    push rdx
    push rdi
    push rsi
    mov ecx, gs:[PERCPU_ID]
    lea rdx, [rip + tlb_request]
    lea rbx, [rip + tlb_answers]
    bt qword ptr [rip + tlb_late], rcx
    jc .Lanswer_late
.Lanswer_request:
    mov rax, [rdx + TLB_NUMBER]                 # before the rest: that may belong to a later one already
    cmp [rbx + rcx * 8], rax
    je .Lanswer_leave
    bt qword ptr [rdx + TLB_TARGETS], rcx
    jnc .Lanswer_leave
    mov rdi, [rdx + TLB_VA]
    mov rsi, [rdx + TLB_LENGTH]
    call tlb_flush_here
    mov [rbx + rcx * 8], rax
    jmp .Lanswer_request                        # another may have come meanwhile
.Lanswer_leave:
    pop rsi
    pop rdi
    pop rdx
    pop rcx
    pop rbx
    pop rax
    return_frame
.Lanswer_late:
    lock btr qword ptr [rip + tlb_late], rcx
    xor edi, edi
    mov rsi, -1                                 # all there is
    call tlb_flush_here
    jmp .Lanswer_request
end_function tlb_answer

# tlb_interrupt -- the handler of VECTOR_IPI_TLB
# In:       none
# Out:      none
# Clobbers: none
# Context:  long mode, interrupts off, GS base set; a handler
function tlb_interrupt
    call_frame
    call tlb_answer
    return_frame
end_function tlb_interrupt

# tlb_join -- from now on this CPU is asked, and answers
# In:       none
# Out:      rax = error:u64, cf = refused: ERROR_FULL (a CPU number beyond the mask), or as interrupt_install
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, interrupts off, GS base set, PERCPU_APIC_ID known, the local APIC enabled; once on each CPU, before
#           it loads an address space
function tlb_join
    call_frame
    push rbx
    push rbx
    mov ebx, gs:[PERCPU_ID]
    mov eax, ERROR_FULL
    cmp ebx, TLB_CPUS_MAX
    cmc
    jc .Ljoin_leave
    cmp byte ptr [rip + tlb_served], 0
    jne .Ljoin_installed
    mov edi, VECTOR_IPI_TLB
    lea rsi, [rip + tlb_interrupt]
    xor edx, edx
    call interrupt_install
    jc .Ljoin_leave
    mov byte ptr [rip + tlb_served], 1
.Ljoin_installed:
    lea rdx, [rip + tlb_apic_ids]
    mov eax, gs:[PERCPU_APIC_ID]
    mov [rdx + rbx * 4], eax
    lock bts qword ptr [rip + tlb_cpus], rbx
    xor edi, edi
    mov rsi, -1                                 # what changed before this CPU was asked
    call tlb_flush_here
    xor eax, eax
.Ljoin_leave:
    pop rbx
    pop rbx
    return_frame
end_function tlb_join

# tlb_leave -- from now on this CPU is not asked: it must touch nothing that can be unmapped until it joins again
# In:       none
# Out:      none
# Clobbers: rcx
# Context:  long mode, interrupts off, GS base set, the kernel's own space loaded
function tlb_leave
    call_frame
    mov ecx, gs:[PERCPU_ID]
    lock btr qword ptr [rip + tlb_cpus], rcx
    call tlb_answer                             # who asked before waits still
    return_frame
end_function tlb_leave

# tlb_flush_here -- drop the translations of a range, and all ways to tables, on the CPU that runs
# In:       rdi = va:u64, rsi = length:u64 (bytes)
# Out:      none
# Clobbers: none
# Context:  long mode, any IF
function tlb_flush_here
    push rax
    push rcx
    push rdi
    cmp rsi, TLB_PAGES_MAX * PAGE_SIZE
    ja .Lflush_all
    lea rcx, [rdi + rsi]
.Lflush_page:
    invlpg [rdi]
    add rdi, PAGE_SIZE
    cmp rdi, rcx
    jb .Lflush_page
    jmp .Lflush_here_leave
.Lflush_all:
    mov rcx, cr4
    mov rax, rcx
    and rax, ~CR4_PGE                           # either change drops all translations, the global ones too
    mov cr4, rax
    mov cr4, rcx
.Lflush_here_leave:
    pop rdi
    pop rcx
    pop rax
    ret
end_function tlb_flush_here

.section .data, "aw"
    .balign 8
object tlb_wait_max                             # looks at the answers before one is given up
    .quad TLB_WAIT_DEFAULT
end_object tlb_wait_max

.section .bss, "aw", @nobits
    .balign 8
object tlb_request
    .skip TLB_REQUEST_SIZE
end_object tlb_request
object tlb_answers                              # u64 for each CPU
    .skip 8 * TLB_CPUS_MAX
end_object tlb_answers
object tlb_cpus                                 # bit n = CPU n joined
    .skip 8
end_object tlb_cpus
object tlb_late                                 # bit n = CPU n did not answer in time and holds whatever it holds
    .skip 8
end_object tlb_late
object tlb_apic_ids                             # u32 for each CPU
    .skip 4 * TLB_CPUS_MAX
end_object tlb_apic_ids
object tlb_shoots                               # requests to other CPUs
    .skip 8
end_object tlb_shoots
object tlb_timeouts                             # of which not all were answered
    .skip 8
end_object tlb_timeouts
object tlb_served                               # byte: the handler is installed
    .skip 1
end_object tlb_served
