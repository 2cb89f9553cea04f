# Purpose:  commands of the shell about the machine: cpus, irq, time.
# Mode:     64-bit long mode
# Spec:     include/cpu.inc (rows of processors), include/apic.inc (vectors)
# Exports:  rows of section .shell
.intel_syntax noprefix
.include "macros.inc"
.include "percpu.inc"
.include "cpu.inc"
.include "apic.inc"
.include "shell.inc"

.set VECTORS, 256
.set HZ_PER_KHZ, 1000

.section .rodata, "a"
    .balign 8
state_names:    .quad state_absent, state_starting, state_online, state_parked      # by CPU_STATE_*
state_absent:   .asciz "absent"
state_starting: .asciz "starting"
state_online:   .asciz "online"
state_parked:   .asciz "parked"

.section .text, "ax"

# command_cpus -- cpus: the processors that firmware names, and which of them run
# In:       rdi = words:ptr, rsi = count:u64
# Out:      rax = reason:asciz, cf = refused
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a command
local_function command_cpus
    call_frame
    push rbx
    push r12
    lea rdi, [rip + name_cpus]
    call out_begin
    lea rdi, [rip + key_online]
    mov esi, dword ptr [rip + cpu_online]
    call out_number
    lea rdi, [rip + name_cpus]
    call out_list
    lea rbx, [rip + cpu_rows]
    xor r12d, r12d
.Lcpus_row:
    cmp r12d, dword ptr [rip + cpu_count]
    jae .Lcpus_end
    call out_row
    lea rdi, [rip + key_cpu]
    mov esi, r12d
    call out_number
    lea rdi, [rip + key_apic_id]
    mov esi, dword ptr [rbx + CPU_APIC_ID]
    call out_number
    mov eax, dword ptr [rbx + CPU_STATE]
    lea rsi, [rip + state_names]
    mov rsi, qword ptr [rsi + rax * 8]
    lea rdi, [rip + key_state]
    call out_text
    lea rdi, [rip + key_interrupts]
    mov rsi, rbx
    call cpu_interrupts
    call out_number
    lea rdi, [rip + key_nmis]
    mov rax, qword ptr [rbx + CPU_BLOCK]
    xor esi, esi
    test rax, rax
    jz .Lcpus_nmis
    mov rsi, qword ptr [rax + PERCPU_NMI_COUNT]
.Lcpus_nmis:
    call out_number
    call out_row_end
    add rbx, CPU_ROW_SIZE
    inc r12d
    jmp .Lcpus_row
.Lcpus_end:
    call out_list_end
    call out_end
    clc
    pop r12
    pop rbx
    return_frame
end_function command_cpus
shell_text name_cpus, "cpus"
shell_text key_online, "online"
shell_text key_cpu, "cpu"
shell_text key_apic_id, "apic_id"
shell_text key_state, "state"
shell_text key_interrupts, "interrupts"
shell_text key_nmis, "nmis_in_reports"
shell_command command_cpus, "cpus", "", "the processors, and which of them run"

# cpu_interrupts -- how many interrupts came on a CPU
# In:       rsi = row:ptr (CPU_*)
# Out:      rsi = count:u64
# Clobbers: rax, rcx
# Context:  long mode
local_function cpu_interrupts
    mov rax, qword ptr [rsi + CPU_BLOCK]
    xor esi, esi
    test rax, rax
    jz .Lcount_return
    mov ecx, VECTORS
.Lcount_next:
    add rsi, qword ptr [rax + rcx * 8 + PERCPU_INTERRUPTS - 8]
    dec ecx
    jnz .Lcount_next
.Lcount_return:
    ret
end_function cpu_interrupts

# command_irq -- irq: the vectors that are served or have come, and how often, over all CPUs
# In:       rdi = words:ptr, rsi = count:u64
# Out:      rax = reason:asciz, cf = refused
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a command
local_function command_irq
    call_frame
    push rbx
    push r12
    push r13
    push r14
    lea rdi, [rip + name_irq]
    call out_begin
    lea rdi, [rip + key_vectors]
    call out_list
    mov ebx, VECTOR_PIC                         # those below are exceptions
.Lirq_vector:
    mov edi, ebx
    call vector_count
    mov r12, rax
    mov eax, ebx
    shl eax, HANDLER_SHIFT
    lea rcx, [rip + interrupt_rows]
    mov r13, qword ptr [rcx + rax + HANDLER_ROUTINE]
    mov rax, r12
    or rax, r13
    jz .Lirq_next
    call out_row
    lea rdi, [rip + key_vector]
    mov esi, ebx
    call out_hex
    lea rdi, [rip + key_handler]
    mov rsi, r13
    call out_hex
    lea rdi, [rip + key_count]
    mov rsi, r12
    call out_number
    call out_row_end
.Lirq_next:
    inc ebx
    cmp ebx, VECTORS
    jb .Lirq_vector
    call out_list_end
    call out_end
    clc
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function command_irq
shell_text name_irq, "irq"
shell_text key_vectors, "vectors"
shell_text key_vector, "vector"
shell_text key_handler, "handler"
shell_text key_count, "count"
shell_command command_irq, "irq", "", "the interrupt vectors that are served or have come"

# vector_count -- how often a vector came, over all CPUs
# In:       edi = vector:u32[0..255]
# Out:      rax = count:u64
# Clobbers: rcx, rdx
# Context:  long mode
local_function vector_count
    push rsi
    xor eax, eax
    mov ecx, dword ptr [rip + cpu_count]
    lea rdx, [rip + cpu_rows]
.Lvector_next:
    dec ecx
    js .Lvector_return
    mov rsi, qword ptr [rdx + CPU_BLOCK]
    add rdx, CPU_ROW_SIZE
    test rsi, rsi
    jz .Lvector_next
    add rax, qword ptr [rsi + rdi * 8 + PERCPU_INTERRUPTS]
    jmp .Lvector_next
.Lvector_return:
    pop rsi
    ret
end_function vector_count

# command_time -- time: the clock, and what it is made of
# In:       rdi = words:ptr, rsi = count:u64
# Out:      rax = reason:asciz, cf = refused
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a command
local_function command_time
    call_frame
    push rbx
    push rbx
    lea rdi, [rip + name_time]
    call out_begin
    call clock_ns
    lea rdi, [rip + key_ns]
    mov rsi, rax
    call out_number
    rdtsc
    shl rdx, 32
    lea rsi, [rdx + rax]
    lea rdi, [rip + key_tsc]
    call out_number
    mov rax, qword ptr [rip + clock_hz]
    xor edx, edx
    mov ecx, HZ_PER_KHZ
    div rcx
    mov rsi, rax
    lea rdi, [rip + key_tsc_khz]
    call out_number
    call out_end
    clc
    pop rbx
    pop rbx
    return_frame
end_function command_time
shell_text name_time, "time"
shell_text key_ns, "ns"
shell_text key_tsc, "tsc"
shell_text key_tsc_khz, "tsc_khz"
shell_command command_time, "time", "", "the clock in nanoseconds, and the TSC behind it"
