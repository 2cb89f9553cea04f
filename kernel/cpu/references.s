# Purpose:  the timers of known rate: how each is found and let count, and how its count is read.
# Mode:     64-bit long mode
# Spec:     IA-PC HPET 1.0a, 2.3, 3.2.4 (HPET table); ACPI 6.5, 4.8.3.3; Intel 8254 data sheet (mode 0, counter latch)
# Exports:  hpet_open hpet_read pm_timer_open pm_timer_read pit_open pit_read
# Invariants: what a table of firmware says is checked before it is believed; that a timer counts is not known yet when it
#           is open.
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "paging.inc"
.include "acpi.inc"
.include "clock.inc"

.section .text, "ax"

# hpet_open -- the HPET that its table names, counting
# In:       none
# Out:      rax = period:u64 (fs) or error code, cf = refused: ERROR_NOT_FOUND (there is none), ERROR_MALFORMED (the table
#           breaks the specification, or names a place where no HPET is)
# Clobbers: rcx, rdx, rsi, rdi
# Context:  as frame_alloc, after the units paging and acpi
function hpet_open
    call_frame
    mov edi, ACPI_SIGNATURE_HPET
    xor esi, esi
    call acpi_find
    mov ecx, ERROR_NOT_FOUND
    jc .Lhpet_none
    cmp dword ptr [rax + ACPI_LENGTH], HPET_TABLE_SIZE
    jb .Lhpet_refused
    cmp byte ptr [rax + HPET_TABLE_REGISTER + GAS_SPACE], GAS_SPACE_MEMORY
    jne .Lhpet_refused
    mov rdi, [rax + HPET_TABLE_REGISTER + GAS_ADDRESS]
    test edi, HPET_BYTES - 1
    jnz .Lhpet_refused
    mov esi, HPET_BYTES
    mov edx, PTE_CACHE_UC
    call mmio_map
    jc .Lhpet_refused
    mov ecx, [rax + HPET_CAPABILITIES + 4]
    lea edx, [rcx - 1]                          # 0 is as wrong as too much
    cmp edx, HPET_PERIOD_MAX
    jae .Lhpet_refused
    mov [rip + hpet_base], rax
    or dword ptr [rax + HPET_CONFIGURATION], HPET_ENABLE
    mov eax, ecx
    clc
.Lhpet_return:
    return_frame
.Lhpet_refused:
    mov ecx, ERROR_MALFORMED
.Lhpet_none:
    mov eax, ecx
    stc
    return_frame
end_function hpet_open

# hpet_read -- the HPET's counter
# In:       none
# Out:      rax = count:u64[0..0xffffffff]
# Clobbers: none
# Context:  long mode, any IF, after hpet_open
function hpet_read
    mov rax, [rip + hpet_base]
    mov eax, [rax + HPET_COUNTER]
    ret
end_function hpet_read

# pm_timer_open -- the PM timer of the FADT
# In:       none
# Out:      rax = period:u64 (fs) or error code, cf = refused: ERROR_NOT_FOUND
# Clobbers: none
# Context:  long mode, any IF, after the unit power
function pm_timer_open
    mov eax, ERROR_NOT_FOUND
    cmp dword ptr [rip + power_timer], 1        # cf = 1: no port
    jc .Lpm_return
    mov eax, PM_TIMER_PERIOD
.Lpm_return:
    ret
end_function pm_timer_open

# pm_timer_read -- the PM timer's count
# In:       none
# Out:      rax = count:u64[0..0xffffff]
# Clobbers: none
# Context:  long mode, any IF, after pm_timer_open
function pm_timer_read
    push rdx
    mov edx, [rip + power_timer]
    in eax, dx
    and eax, PM_TIMER_MASK                      # some have 32 bits
    pop rdx
    ret
end_function pm_timer_read

# pit_open -- channel 2 of the 8254, counting down from its highest count
# In:       none
# Out:      rax = period:u64 (fs), cf = never (that there is none shows when it does not count)
# Clobbers: none
# Context:  long mode, any IF
function pit_open
    in al, PIT_GATE_PORT
    and al, ~PIT_SPEAKER & 0xff
    or al, PIT_GATE
    out PIT_GATE_PORT, al
    mov al, PIT_MODE_0
    out PIT_CONTROL, al
    mov al, PIT_MASK & 0xff
    out PIT_CHANNEL_2, al
    out PIT_CHANNEL_2, al
    mov eax, PIT_PERIOD
    clc
    ret
end_function pit_open

# pit_read -- how far channel 2 has counted
# In:       none
# Out:      rax = count:u64[0..0xffff]
# Clobbers: none
# Context:  long mode, any IF, after pit_open
function pit_read
    push rdx
    mov al, PIT_LATCH
    out PIT_CONTROL, al
    in al, PIT_CHANNEL_2
    movzx edx, al
    in al, PIT_CHANNEL_2
    movzx eax, al
    shl eax, 8
    or eax, edx
    xor eax, PIT_MASK                           # it counts down
    pop rdx
    ret
end_function pit_read

.section .bss, "aw", @nobits
    .balign 8
hpet_base:                                      # where it is mapped
    .skip 8
