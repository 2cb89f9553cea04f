# Purpose:  place the empty slots of one bus: find room, write the register, remember what is taken.
# Mode:     64-bit
# Spec:     PCI Local Bus 3.0, 6.2.5.1
# Exports:  pci_place_bus pci_failed pci_placed
# Invariants: a slot is placed once; one for which there is no room is marked and counted, and stays at 0.
.intel_syntax noprefix
.include "macros.inc"
.include "registers.inc"
.include "layout.inc"
.include "paging.inc"
.include "pci.inc"

.section .text, "ax"

# pci_place_bus -- give an address to every empty slot of a bus, the largest first
# In:       edi = bus:u32[0..255], esi = kind:u32 (0 = memory, PCI_BAR_IO)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  as pci_assign; the bus nearer to the root is done
function pci_place_bus
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov r12d, edi
    mov r13d, esi
    xor eax, eax
    call pci_next_empty
    jc .Lplace_leave                            # the common case: firmware did it all
    call pci_limits
    call pci_collect_taken
.Lplace_next:
    mov edi, r12d
    mov esi, r13d
    call pci_largest_empty
    jc .Lplace_leave
    mov rbx, rdx                                # slot
    mov r14d, eax                               # cursor behind it
    mov rdi, [rbx + PCI_SLOT_LENGTH]
    mov esi, r13d
    call pci_span
    call pci_find_below
    jnc .Lplace_found
    call pci_may_go_high
    jc .Lplace_failed
    call pci_find_above
    jc .Lplace_failed
.Lplace_found:
    mov [rbx + PCI_SLOT_BASE], rax
    inc dword ptr [rip + pci_placed]
    mov rsi, rax
    lea rdx, [rax + rdi]
    lea rdi, [rip + pci_taken]
    call ranges_add
    mov edi, r14d
    call pci_commit
    jmp .Lplace_next
.Lplace_failed:
    inc dword ptr [rip + pci_failed]
    mov edi, r14d
    call pci_slot_of
    or byte ptr [rdi + rsi + PCI_ROW_FLAGS], PCI_SLOT_FAILED
    jmp .Lplace_next
.Lplace_leave:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function pci_place_bus

# pci_slot_of -- row and index of the slot before a cursor
# In:       edi = cursor:u32
# Out:      rdi = row:ptr, rsi = index:u64
# Clobbers: rax
# Context:  long mode, any IF
local_function pci_slot_of
    call_frame
    dec edi
    mov esi, edi
    and esi, PCI_CURSOR_MASK
    shr edi, PCI_CURSOR_SHIFT
    call pci_row
    mov rdi, rax
    return_frame
end_function pci_slot_of

# pci_commit -- write the base of a slot that is a BAR; windows are written when all are known
# In:       edi = cursor:u32 (behind the slot)
# Out:      none
# Clobbers: rax, rsi, rdi
# Context:  as pci_assign
local_function pci_commit
    call_frame
    call pci_slot_of
    test byte ptr [rdi + rsi + PCI_ROW_FLAGS], PCI_SLOT_WINDOW
    jnz .Lcommit_leave
    call pci_write_bar
.Lcommit_leave:
    return_frame
end_function pci_commit

# pci_largest_empty -- the largest slot of a bus that wants an address, the first of equals
# In:       edi = bus:u32, esi = kind:u32
# Out:      rdx = slot:ptr, eax = cursor:u32 (behind it), cf = there is none
# Clobbers: rcx
# Context:  long mode, any IF
local_function pci_largest_empty
    call_frame
    push rbx
    push r8
    xor eax, eax
    xor ebx, ebx                                # slot found, 0 = none
    xor ecx, ecx                                # its size
.Llargest_slot:
    call pci_next_empty
    jc .Llargest_done
    cmp [rdx + PCI_SLOT_LENGTH], rcx
    jbe .Llargest_slot
    mov rcx, [rdx + PCI_SLOT_LENGTH]
    mov rbx, rdx
    mov r8, rax
    jmp .Llargest_slot
.Llargest_done:
    mov rdx, rbx
    mov rax, r8
    cmp rbx, 1                                  # cf when none was found
    pop r8
    pop rbx
    return_frame
end_function pci_largest_empty

# pci_limits -- between which addresses the slots of a bus may lie
# In:       edi = bus:u32, esi = kind:u32
# Out:      none (pci_floor, pci_ceiling)
# Clobbers: rax, rcx
# Context:  as pci_assign
local_function pci_limits
    call_frame
    mov eax, PCI_IO_FLOOR
    mov ecx, PCI_IO_CEILING
    test edi, edi
    jz .Llimits_root
    call pci_bridge_to
    jc .Llimits_none
    lea rcx, [rax + PCI_ROW_SLOTS + PCI_SLOT_WINDOW_IO * PCI_SLOT_SIZE]
    test esi, esi
    jnz .Llimits_window
    lea rcx, [rax + PCI_ROW_SLOTS + PCI_SLOT_WINDOW_MEMORY * PCI_SLOT_SIZE]
.Llimits_window:
    mov rax, [rcx + PCI_SLOT_BASE]
    test rax, rax
    jz .Llimits_none
    mov rcx, [rcx + PCI_SLOT_LENGTH]
    add rcx, rax
    jmp .Llimits_store
.Llimits_none:
    xor eax, eax                                # the window got no place: nothing fits
    xor ecx, ecx
    jmp .Llimits_store
.Llimits_root:
    test esi, esi
    jnz .Llimits_store
    call pci_root_floor
    mov ecx, PCI_MEMORY_CEILING
.Llimits_store:
    mov [rip + pci_floor], rax
    mov [rip + pci_ceiling], rcx
    return_frame
end_function pci_limits

# pci_root_floor -- the end of the RAM that lies below the ceiling of the root bus
# In:       none
# Out:      rax = floor:u64
# Clobbers: rcx
# Context:  long mode, any IF
local_function pci_root_floor
    push rdx
    push rsi
    mov eax, FRAME_FLOOR
    mov edx, PCI_MEMORY_CEILING
    lea rsi, [rip + memory_ram + RANGES_ROWS]
    mov rcx, [rip + memory_ram + RANGES_COUNT]
.Lroot_floor_row:
    dec rcx
    js .Lroot_floor_done
    cmp [rsi + RANGE_END], rdx
    ja .Lroot_floor_done                        # rows ascend
    mov rax, [rsi + RANGE_END]
    add rsi, RANGE_SIZE
    jmp .Lroot_floor_row
.Lroot_floor_done:
    pop rsi
    pop rdx
    ret
end_function pci_root_floor

# pci_find_below -- room for a slot between floor and ceiling, as high as possible
# In:       rdi = size:u64 (a power of two)
# Out:      rax = base:u64, cf = there is no room
# Clobbers: rcx, rdx, rsi
# Context:  as pci_assign
local_function pci_find_below
    call_frame
    push rdi
    push rbx
    mov rbx, rdi
    mov rsi, [rip + pci_ceiling]
.Lbelow_try:
    sub rsi, rbx
    jb .Lbelow_leave
    mov rax, rbx
    neg rax
    and rsi, rax                                # down to a multiple of the size
    cmp rsi, [rip + pci_floor]
    jb .Lbelow_leave
    lea rdx, [rsi + rbx]
    lea rdi, [rip + pci_taken]
    call ranges_overlap
    jc .Lbelow_found
    mov rsi, [rax + RANGE_FIRST]
    jmp .Lbelow_try
.Lbelow_found:
    mov rax, rsi
    cmp rax, 1                                  # address 0 means that there is none
.Lbelow_leave:
    pop rbx
    pop rdi
    return_frame
end_function pci_find_below

# pci_may_go_high -- whether a slot may lie above 4 GB
# In:       r14d = cursor:u32 (behind the slot), r12d = bus:u32
# Out:      cf = it may not: not a 64-bit BAR, or behind a bridge
# Clobbers: rax, rsi
# Context:  as pci_assign
local_function pci_may_go_high
    call_frame
    push rdi
    push rcx
    test r12d, r12d
    jnz .Lhigh_not
    mov edi, r14d
    call pci_slot_of
    test byte ptr [rdi + rsi + PCI_ROW_FLAGS], PCI_SLOT_64
    jz .Lhigh_not
    clc
    jmp .Lhigh_leave
.Lhigh_not:
    stc
.Lhigh_leave:
    pop rcx
    pop rdi
    return_frame
end_function pci_may_go_high

# pci_find_above -- room for a slot above 4 GB and above all RAM, as low as possible
# In:       rdi = size:u64 (a power of two)
# Out:      rax = base:u64, cf = there is no room that the CPU can address
# Clobbers: rcx, rdx, rsi
# Context:  as pci_assign
local_function pci_find_above
    call_frame
    push rdi
    push rbx
    push r12
    push r13
    mov r13, rdi
    mov eax, CPUID_LEAF_ADDRESS_SIZES
    cpuid
    movzx ecx, al
    mov r12d, 1
    shl r12, cl                                 # first address beyond the CPU's reach
    mov rsi, PCI_HIGH_FLOOR
.Labove_try:
    lea rsi, [rsi + r13 - 1]
    mov rax, r13
    neg rax
    and rsi, rax                                # up to a multiple of the size
    lea rdx, [rsi + r13]
    cmp r12, rdx
    jb .Labove_leave
    lea rdi, [rip + pci_taken]
    call ranges_overlap
    jc .Labove_found
    mov rsi, [rax + RANGE_END]
    jmp .Labove_try
.Labove_found:
    mov rax, rsi
    clc
.Labove_leave:
    pop r13
    pop r12
    pop rbx
    pop rdi
    return_frame
end_function pci_find_above

.section .bss, "aw", @nobits
    .balign 8
object pci_floor
    .skip 8
end_object pci_floor
object pci_ceiling                              # exclusive
    .skip 8
end_object pci_ceiling
object pci_placed                               # slots that got an address
    .skip 4
end_object pci_placed
object pci_failed                               # slots for which there was no room
    .skip 4
end_object pci_failed
