# Purpose:  the machine switched off, or reset, on its own wish: the ways that it may offer, one after the other.
# Mode:     64-bit long mode
# Spec:     ACPI 6.5, 4.8.3.2 (PM1 control), 4.8.3.6 (reset register), 7.5 (sleeping); Intel ICH9, 13.7.5 (RST_CNT, port
#           0xcf9); IBM PC AT, 8042 command 0xfe
# Exports:  acpi_power_off acpi_reboot
# Invariants: every wait is bounded by a number of port accesses, each about a microsecond on a real bus; a way that the
#           tables do not offer is passed over. acpi_reboot does not return: a triple fault is its last way.
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "layout.inc"
.include "registers.inc"
.include "pci.inc"
.include "acpi.inc"

.set PORT_DELAY, 0x80                           # the diagnostic port: writing there only takes time
.set POWER_WAIT, 50000                          # accesses: about 50 ms
.set POWER_WAITS, 60                            # of these: SMI code, and a power supply, may take their time
.set RESET_PORT, 0xcf9
.set RESET_PREPARE, 0x02                        # hard reset, not yet
.set RESET_NOW, 0x06
.set KEYBOARD_STATUS, 0x64
.set KEYBOARD_INPUT_FULL, 1 << 1
.set KEYBOARD_PULSE_RESET, 0xfe
.set GATE_SIZE, 16
.set PCI_ADDRESS_DEVICE_BIT, 32                 # of a generic address in configuration space
.set PCI_ADDRESS_FUNCTION_BIT, 16

.section .rodata, "a"
    .balign 16
power_no_gate:                                  # not present: no exception can be delivered
    .skip GATE_SIZE
    .skip 6                                     # so that the base lies on 8 bytes
power_no_idt:
    .short GATE_SIZE - 1
    .quad power_no_gate

.section .text, "ax"

# acpi_power_off -- switch the machine off (S5)
# In:       none
# Out:      rax = error:u64, cf = set always, for who is switched off does not return: ERROR_UNSUPPORTED where the tables
#           do not say how, ERROR_TIMEOUT where the machine did not obey
# Clobbers: rcx, rdx
# Context:  long mode, any IF; interrupts may go on coming
function acpi_power_off
    call_frame
    push rbx
    push r12
    mov ebx, [rip + power_sleep_types]
    mov eax, ERROR_UNSUPPORTED
    cmp ebx, -1
    je .Loff_failed
    mov edx, [rip + power_pm1a]
    test edx, edx
    jz .Loff_failed
    call power_enter_acpi
    mov edx, [rip + power_pm1b]                 # both blocks: each has its type and its bit
    test edx, edx
    jz .Loff_one_block
    movzx ecx, bh
    call power_sleep
.Loff_one_block:
    mov edx, [rip + power_pm1a]
    movzx ecx, bl
    call power_sleep
    mov ebx, POWER_WAITS
.Loff_wait:
    call power_wait
    dec ebx
    jnz .Loff_wait
    mov eax, ERROR_TIMEOUT
.Loff_failed:
    pop r12
    pop rbx
    stc
    return_frame
end_function acpi_power_off

# power_enter_acpi -- hand the power registers from the firmware to the system; bounded
# In:       edx = port:u16 (PM1a control)
# Out:      none
# Clobbers: rax, rcx, rdx
# Context:  long mode, any IF
local_function power_enter_acpi
    call_frame
    push rbx
    push r12
    mov ebx, POWER_WAITS
    in ax, dx
    test eax, PM1_SCI_ENABLED
    jnz .Lenter_return
    mov ecx, [rip + power_smi_command]
    test ecx, ecx
    jz .Lenter_return
    mov al, [rip + power_smi_enable]
    test al, al
    jz .Lenter_return
    xchg edx, ecx
    out dx, al
    mov edx, ecx
.Lenter_poll:
    in ax, dx
    test eax, PM1_SCI_ENABLED
    jnz .Lenter_return
    call power_wait
    dec ebx
    jnz .Lenter_poll
.Lenter_return:
    pop r12
    pop rbx
    return_frame
end_function power_enter_acpi

# power_sleep -- write a sleep type to a PM1 control register, and go to sleep
# In:       edx = port:u16, ecx = type:u32[0..7]
# Out:      none
# Clobbers: rax, rcx
# Context:  long mode, any IF
local_function power_sleep
    in ax, dx
    and eax, ~(PM1_SLEEP_TYPE_MASK | PM1_SLEEP_ENABLE)
    shl ecx, PM1_SLEEP_TYPE_SHIFT
    or eax, ecx
    or eax, PM1_SLEEP_ENABLE
    out dx, ax
    ret
end_function power_sleep

# power_wait -- give the machine a moment to do what it was told
# In:       none
# Out:      none
# Clobbers: rcx
# Context:  long mode, any IF
local_function power_wait
    mov ecx, POWER_WAIT
.Lwait_next:
    out PORT_DELAY, al
    dec ecx
    jnz .Lwait_next
    ret
end_function power_wait

# acpi_reboot -- reset the machine: by the FADT's register, chipset, keyboard controller, and at last a triple fault
# In:       none
# Out:      none
# Clobbers: none
# Context:  long mode, any IF; does not return
function acpi_reboot
    call_frame
    cli
    call power_reset_by_register
    mov edx, RESET_PORT
    mov al, RESET_PREPARE
    out dx, al
    mov al, RESET_NOW
    out dx, al
    call power_wait
    mov ecx, POWER_WAIT
.Lreboot_poll:
    in al, KEYBOARD_STATUS
    test al, KEYBOARD_INPUT_FULL
    jz .Lreboot_pulse
    dec ecx
    jnz .Lreboot_poll
.Lreboot_pulse:
    mov al, KEYBOARD_PULSE_RESET
    out KEYBOARD_STATUS, al
    call power_wait
    lidt [rip + power_no_idt]
.Lreboot_fault:
    ud2
    jmp .Lreboot_fault
end_function acpi_reboot

# power_reset_by_register -- write the reset value where the FADT says
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, any IF; returns where there is no such register, or where it did nothing
local_function power_reset_by_register
    call_frame
    mov rdi, [rip + power_reset + GAS_ADDRESS]
    test rdi, rdi
    jz .Lregister_return
    movzx ecx, byte ptr [rip + power_reset + GAS_SPACE]
    mov al, [rip + power_reset_value]
    cmp ecx, GAS_SPACE_IO
    je .Lregister_port
    cmp ecx, GAS_SPACE_PCI
    je .Lregister_pci
    cmp ecx, GAS_SPACE_MEMORY
    jne .Lregister_return
    mov esi, 1
    mov edx, PTE_CACHE_UC
    call mmio_map
    jc .Lregister_return
    mov cl, [rip + power_reset_value]
    mov [rax], cl
    jmp .Lregister_wait
.Lregister_port:
    cmp rdi, PORT_MAX
    ja .Lregister_return
    mov edx, edi
    out dx, al
    jmp .Lregister_wait
.Lregister_pci:
    call power_reset_by_pci
.Lregister_wait:
    call power_wait
.Lregister_return:
    return_frame
end_function power_reset_by_register

# power_reset_by_pci -- write the reset value to a byte of configuration space, on bus 0
# In:       rdi = address:u64 (a generic address in PCI space)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, any IF, one caller at a time
local_function power_reset_by_pci
    call_frame
    push rbx
    push r12
    mov rax, rdi
    shr rax, PCI_ADDRESS_DEVICE_BIT
    and eax, PCI_DEVICE_MASK
    shl eax, PCI_DEVICE_SHIFT
    mov ecx, edi
    shr ecx, PCI_ADDRESS_FUNCTION_BIT
    and ecx, PCI_FUNCTION_MASK
    or eax, ecx
    movzx esi, di
    mov edi, eax
    mov ecx, esi
    and esi, ~3                                 # the dword that the byte lies in
    and ecx, 3
    shl ecx, 3
    call pci_read32
    jc .Lpci_return
    mov edx, 0xff
    shl edx, cl
    not edx
    and eax, edx
    movzx edx, byte ptr [rip + power_reset_value]
    shl edx, cl
    or edx, eax
    call pci_write32
.Lpci_return:
    pop r12
    pop rbx
    return_frame
end_function power_reset_by_pci
