# Purpose:  the further processors: started all at once, each on stacks of its own; the boot unit `processors`.
# Mode:     64-bit long mode
# Spec:     Intel SDM vol. 3, 8.4.4.1 (INIT, SIPI, SIPI); ACPI 6.5, 5.2.12.2
# Exports:  processors_init cpu_prepare cpu_rows cpu_count cpu_online trampoline_find
# Invariants: no CPU is waited for beyond CPU_WAIT without another one coming. A CPU that was given up and comes later
#           finds so in its row, and halts. Rows are filled before the CPU is told to start.
.intel_syntax noprefix
.include "macros.inc"
.include "contract.inc"
.include "errors.inc"
.include "registers.inc"
.include "layout.inc"
.include "paging.inc"
.include "percpu.inc"
.include "boot.inc"
.include "apic.inc"
.include "cpu.inc"

.set INIT_WAIT, 10000000                        # ns after INIT; a virtual CPU needs none
.set SIPI_WAIT, 200000                          # ns after the first SIPI; who has come by then gets no second
.set CPU_WAIT, 2000000000                       # ns without another CPU coming: virtual ones wait for a busy host

.section .rodata, "a"
note_cpus:      .asciz "cpus"
note_parked:    .asciz "parked"
note_first:     .asciz "first_parked"
note_failed:    .asciz "not_started"
note_reason:    .asciz "reason"
reason_page:    .asciz "no-low-page"

.section .text, "ax"

# processors_init -- boot unit: start all processors of the MADT
# In:       rdi = row:ptr
# Out:      rax = result:u64 (BOOT_RESULT_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts off, GS base set, after the units lapic, madt, clock and timer; boot unit
function processors_init
    call_frame
    push rbx
    push r12
    call processors_first
    xor ebx, ebx                                # those that cannot be started
    cmp dword ptr [rip + madt_cpu_count], 1
    jbe .Linit_said
    call trampoline_find
    jc .Linit_no_page
    mov r12, rax
    mov rdi, rax
    call trampoline_place
    call processors_prepare
    mov ebx, eax
    mov edi, r12d
    call processors_start
.Linit_said:
    lea rdi, [rip + note_cpus]
    mov esi, [rip + cpu_online]
    call unit_note_dec
    test ebx, ebx
    jz .Linit_parked
    lea rdi, [rip + note_failed]
    mov esi, ebx
    call unit_note_dec
.Linit_parked:
    call processors_note_parked
    mov eax, BOOT_RESULT_OK
.Linit_leave:
    pop r12
    pop rbx
    return_frame
.Linit_no_page:
    lea rdi, [rip + note_reason]
    lea rsi, [rip + reason_page]
    call unit_note_text
    mov eax, BOOT_RESULT_FAIL
    jmp .Linit_leave
end_function processors_init

# processors_first -- the row of the CPU that booted, and what it does for the others
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, interrupts off, GS base set, on the boot CPU
local_function processors_first
    call_frame
    lea rdx, [rip + cpu_rows]
    mov eax, dword ptr gs:[PERCPU_APIC_ID]
    mov [rdx + CPU_APIC_ID], eax
    mov dword ptr [rdx + CPU_STATE], CPU_STATE_ONLINE
    mov rax, qword ptr gs:[PERCPU_SELF]
    mov [rdx + CPU_BLOCK], rax
    mov dword ptr [rip + cpu_count], 1
    mov dword ptr [rip + cpu_online], 1
    mov edi, VECTOR_IPI_CALL
    lea rsi, [rip + cpu_called]
    xor edx, edx
    call interrupt_install
    call tlb_join
    return_frame
end_function processors_first

# processors_prepare -- rows for all processors that firmware enabled, but this one
# In:       none
# Out:      eax = failed:u32 (how many there was no memory or no row for)
# Clobbers: rcx, rdx, rsi, rdi
# Context:  as frame_alloc, after processors_first
local_function processors_prepare
    call_frame
    push rbx
    push r12
    xor ebx, ebx
    mov r12d, [rip + madt_cpu_lost]
.Lprepare_next:
    cmp ebx, [rip + madt_cpu_count]
    jae .Lprepare_done
    lea rax, [rip + madt_cpu_ids]
    mov edi, [rax + rbx * 4]
    inc ebx
    cmp edi, dword ptr gs:[PERCPU_APIC_ID]
    je .Lprepare_next
    call cpu_prepare
    adc r12d, 0
    jmp .Lprepare_next
.Lprepare_done:
    mov eax, r12d
    pop r12
    pop rbx
    return_frame
end_function processors_prepare

# cpu_prepare -- a row, a per-CPU block and stacks for one more processor
# In:       edi = apic_id:u32
# Out:      rax = error:u64, cf = refused: ERROR_FULL, or as frame_alloc and stack_alloc
# Clobbers: rcx, rdx, rsi, rdi
# Context:  as frame_alloc, after processors_first
function cpu_prepare
    call_frame
    push rbx
    push r12
    push r13
    push r13
    mov r12d, edi
    mov ecx, [rip + cpu_count]
    mov eax, ERROR_FULL
    cmp ecx, CPU_MAX
    cmc
    jc .Lprepare_return
    shl ecx, CPU_ROW_SHIFT
    lea rbx, [rip + cpu_rows]
    add rbx, rcx
    mov dword ptr [rbx + CPU_STATE], CPU_STATE_ABSENT
    mov [rbx + CPU_APIC_ID], r12d
    call frame_alloc_zeroed
    jc .Lprepare_return
    mov rcx, DIRECT_BASE
    add rax, rcx
    mov [rbx + CPU_BLOCK], rax
    mov edi, STACK_SIZE
    call stack_alloc
    jc .Lprepare_return
    mov [rbx + CPU_STACK_TOP], rax
    sub rax, STACK_SIZE
    mov [rbx + CPU_STACK_BOTTOM], rax
    xor r13d, r13d
.Lprepare_ist:
    mov edi, IST_STACK_SIZE
    call stack_alloc
    jc .Lprepare_return
    mov [rbx + r13 * 8 + CPU_IST_TOPS], rax
    inc r13d
    cmp r13d, IST_COUNT
    jb .Lprepare_ist
    inc dword ptr [rip + cpu_count]
    xor eax, eax
.Lprepare_return:
    pop r13
    pop r13
    pop r12
    pop rbx
    return_frame
end_function cpu_prepare

# trampoline_find -- a page of RAM that a CPU can begin at, and that no module lies in
# In:       none
# Out:      rax = page:u64[0x8000..0xf000] (physical), cf = there is none
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, any IF, after the paging unit
function trampoline_find
    call_frame
    push rbx
    push r12
    mov ebx, TRAMPOLINE_FIRST
.Lpage_next:
    lea rdi, [rip + memory_ram]
    mov rsi, rbx
    lea rdx, [rbx + PAGE_SIZE]
    call ranges_overlap
    jc .Lpage_other
    cmp [rax + RANGE_FIRST], rbx
    ja .Lpage_other
    cmp [rax + RANGE_END], rdx
    jb .Lpage_other
    lea rcx, [rip + bootinfo_modules]
    mov r12, [rip + bootinfo_module_count]
.Lpage_module:
    test r12, r12
    jz .Lpage_found
    dec r12
    cmp [rcx + MODULE_BASE], rdx
    jae .Lpage_apart
    mov rax, [rcx + MODULE_BASE]
    add rax, [rcx + MODULE_LENGTH]
    cmp rax, rbx
    ja .Lpage_other
.Lpage_apart:
    add rcx, MODULE_ENTRY_SIZE
    jmp .Lpage_module
.Lpage_other:
    add ebx, PAGE_SIZE
    cmp ebx, TRAMPOLINE_END
    jb .Lpage_next
    stc
    jmp .Lpage_return
.Lpage_found:
    mov rax, rbx
    clc
.Lpage_return:
    pop r12
    pop rbx
    return_frame
end_function trampoline_find

# processors_start -- start all prepared CPUs at once, and wait until they have come
# In:       edi = page:u32[0x8000..0xf000] (of the trampoline, physical)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts off, GS base set, after processors_prepare
local_function processors_start
    call_frame
    push rbx
    push r12
    mov r12d, edi
    shr r12d, PAGE_SHIFT
    or r12d, LAPIC_DELIVERY_STARTUP | LAPIC_ICR_ASSERT
    mov edi, LAPIC_DELIVERY_INIT | LAPIC_ICR_ASSERT
    mov esi, CPU_STATE_ABSENT
    mov edx, CPU_STATE_STARTING
    call processors_tell
    mov eax, CPUID_LEAF_FEATURES
    cpuid
    test ecx, CPUID_1_ECX_HYPERVISOR
    jnz .Lstart_begin
    mov edi, INIT_WAIT
    call clock_delay
.Lstart_begin:
    mov edi, r12d
    mov esi, CPU_STATE_STARTING
    mov edx, esi
    call processors_tell
    mov edi, SIPI_WAIT
    call processors_await
    jnc .Lstart_done
    mov edi, r12d                               # the first may be lost; who runs already is in another state
    mov esi, CPU_STATE_STARTING
    mov edx, esi
    call processors_tell
    mov edi, CPU_WAIT
    call processors_await
    jnc .Lstart_done
    call processors_park
.Lstart_done:
    pop r12
    pop rbx
    return_frame
end_function processors_start

# processors_tell -- send a command to every CPU in a state
# In:       edi = command:u32 (of the ICR), esi = state:u32 (CPU_STATE_*), edx = next:u32 (its state from then on)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, interrupts off, after processors_prepare
local_function processors_tell
    call_frame
    push rbx
    push r12
    push r13
    push r14
    push r15
    push r15
    mov r12d, edi
    mov r13d, esi
    mov r14d, edx
    lea rbx, [rip + cpu_rows + CPU_ROW_SIZE]
    mov r15d, [rip + cpu_count]
.Ltell_next:
    dec r15d
    jz .Ltell_done
    mov eax, r13d
    lock cmpxchg [rbx + CPU_STATE], r14d
    jne .Ltell_advance
    mov edi, [rbx + CPU_APIC_ID]
    mov esi, r12d
    call ipi_send_to                            # one that is lost shows in the wait
.Ltell_advance:
    add rbx, CPU_ROW_SIZE
    jmp .Ltell_next
.Ltell_done:
    pop r15
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function processors_tell

# processors_await -- wait until all have come, or none has come for some time
# In:       rdi = ns:u64
# Out:      cf = not all have come
# Clobbers: rax, rcx, rdx
# Context:  long mode, any IF
local_function processors_await
    call_frame
    push rbx
    push r12
    mov r12d, [rip + cpu_online]
    call clock_ns
    mov rbx, rax
.Lawait_turn:
    mov ecx, [rip + cpu_online]
    cmp ecx, [rip + cpu_count]
    je .Lawait_return                           # cf is clear
    pause
    call clock_ns
    cmp ecx, r12d
    je .Lawait_none
    mov r12d, ecx
    mov rbx, rax
.Lawait_none:
    sub rax, rbx
    cmp rax, rdi
    jb .Lawait_turn
    stc
.Lawait_return:
    pop r12
    pop rbx
    return_frame
end_function processors_await

# processors_park -- give up those that have not come
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi
# Context:  long mode, any IF
local_function processors_park
    lea rdx, [rip + cpu_rows]
    mov ecx, [rip + cpu_count]
    mov esi, CPU_STATE_PARKED
.Lpark_next:
    mov eax, CPU_STATE_STARTING
    lock cmpxchg [rdx + CPU_STATE], esi
    add rdx, CPU_ROW_SIZE
    dec ecx
    jnz .Lpark_next
    ret
end_function processors_park

# processors_note_parked -- leave notes of those that have not come: how many, and the APIC id of the first
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, GS base set, in the boot unit
local_function processors_note_parked
    call_frame
    push rbx
    push r12
    lea rdx, [rip + cpu_rows]
    mov ecx, [rip + cpu_count]
    xor ebx, ebx
.Lparked_next:
    cmp dword ptr [rdx + CPU_STATE], CPU_STATE_PARKED
    jne .Lparked_advance
    test ebx, ebx
    cmovz r12d, [rdx + CPU_APIC_ID]
    inc ebx
.Lparked_advance:
    add rdx, CPU_ROW_SIZE
    dec ecx
    jnz .Lparked_next
    test ebx, ebx
    jz .Lparked_return
    lea rdi, [rip + note_parked]
    mov esi, ebx
    call unit_note_dec
    lea rdi, [rip + note_first]
    mov esi, r12d
    call unit_note
.Lparked_return:
    pop r12
    pop rbx
    return_frame
end_function processors_note_parked

.section .bss, "aw", @nobits
    .balign 64
object cpu_rows
    .skip CPU_MAX * CPU_ROW_SIZE
end_object cpu_rows
object cpu_count                                # rows in use
    .skip 4
end_object cpu_count
object cpu_online                               # CPUs that run
    .skip 4
end_object cpu_online
