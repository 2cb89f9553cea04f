# Purpose:  PCI-to-PCI bridges: their bus numbers and the windows through which they pass addresses on.
# Mode:     64-bit
# Spec:     PCI-to-PCI Bridge 1.2, 3.2.5 (registers), 3.2.5.8 (windows: base and limit, a base above the limit is closed)
# Exports:  pci_read_bridge pci_follow_bridge pci_highest_given pci_write_windows
# Invariants: a window is a slot of the bridge's row, with base and size like a BAR; a window that firmware left at
#           0 is not assigned. What firmware opened stays open.
.intel_syntax noprefix
.include "macros.inc"
.include "pci.inc"

.section .text, "ax"

# pci_read_bridge -- put a bridge's bus numbers and windows into its row
# In:       rdi = row:ptr
# Out:      none
# Clobbers: rax, rsi
# Context:  long mode, any IF, one caller at a time
function pci_read_bridge
    call_frame
    push rbx
    push rcx
    push rdx
    push rdi
    mov rbx, rdi
    movzx edi, word ptr [rbx + PCI_ROW_BDF]
    mov esi, PCI_BUSES
    call pci_read32
    shr eax, 8
    mov [rbx + PCI_ROW_SECONDARY], ax           # and the subordinate behind it
    mov byte ptr [rbx + PCI_ROW_FLAGS + PCI_SLOT_WINDOW_IO], PCI_BAR_IO | PCI_SLOT_WINDOW
    mov byte ptr [rbx + PCI_ROW_FLAGS + PCI_SLOT_WINDOW_MEMORY], PCI_SLOT_WINDOW
    mov byte ptr [rbx + PCI_ROW_FLAGS + PCI_SLOT_WINDOW_PREFETCH], PCI_SLOT_WINDOW | PCI_BAR_PREFETCH
    mov esi, PCI_IO_WINDOW
    call pci_read32
    mov ecx, eax
    mov esi, PCI_IO_WINDOW_HIGH
    call pci_read32
    mov edx, eax
    and edx, PCI_BAR_IO_HIGH                    # limit 31..16
    shl eax, 16                                 # base 31..16
    mov esi, ecx
    and esi, PCI_WINDOW_IO_MASK
    shl esi, 8
    or eax, esi
    and ecx, PCI_WINDOW_IO_MASK << 8
    or edx, ecx
    mov ecx, PCI_WINDOW_IO_SIZE
    lea rsi, [rbx + PCI_ROW_SLOTS + PCI_SLOT_WINDOW_IO * PCI_SLOT_SIZE]
    call pci_set_window
    mov esi, PCI_MEMORY_WINDOW
    call pci_read_memory_window
    lea rsi, [rbx + PCI_ROW_SLOTS + PCI_SLOT_WINDOW_MEMORY * PCI_SLOT_SIZE]
    call pci_set_window
    call pci_read_prefetch_window
    pop rdi
    pop rdx
    pop rcx
    pop rbx
    return_frame
end_function pci_read_bridge

# pci_read_memory_window -- base and limit of one of the two memory windows, their low 32 bits
# In:       edi = bdf:u32, esi = offset:u32
# Out:      rax = base:u64, rdx = limit:u64 (its last megabyte's first byte), ecx = PCI_WINDOW_MEMORY_SIZE
# Clobbers: none
# Context:  long mode, any IF, one caller at a time
local_function pci_read_memory_window
    call_frame
    call pci_read32
    mov edx, eax
    and edx, PCI_WINDOW_MEMORY_MASK << 16
    and eax, PCI_WINDOW_MEMORY_MASK
    shl eax, 16
    mov ecx, PCI_WINDOW_MEMORY_SIZE
    return_frame
end_function pci_read_memory_window

# pci_read_prefetch_window -- put the prefetchable window into the row, where the bridge has one
# In:       rbx = row:ptr, edi = bdf:u32
# Out:      none
# Clobbers: rax, rcx, rdx, rsi
# Context:  long mode, any IF, one caller at a time
local_function pci_read_prefetch_window
    call_frame
    push r12
    push r13
    mov esi, PCI_PREFETCH_BASE_HIGH
    call pci_read32
    mov r12d, eax
    shl r12, 32
    mov esi, PCI_PREFETCH_LIMIT_HIGH
    call pci_read32
    mov r13d, eax
    shl r13, 32
    mov esi, PCI_PREFETCH_WINDOW
    call pci_read_memory_window
    or rax, r12
    or rdx, r13
    lea rsi, [rbx + PCI_ROW_SLOTS + PCI_SLOT_WINDOW_PREFETCH * PCI_SLOT_SIZE]
    call pci_set_window
    pop r13
    pop r12
    return_frame
end_function pci_read_prefetch_window

# pci_set_window -- fill the slot of a window
# In:       rsi = slot:ptr, rax = base:u64, rdx = limit:u64 (first byte of the last unit), rcx = unit:u64
# Out:      none
# Clobbers: rdx
# Context:  long mode, any IF
local_function pci_set_window
    test rax, rax
    jz .Lset_window_closed                      # never assigned
    sub rdx, rax
    jb .Lset_window_closed
    add rdx, rcx
    mov [rsi + PCI_SLOT_BASE], rax
    mov [rsi + PCI_SLOT_LENGTH], rdx
.Lset_window_closed:
    ret
end_function pci_set_window

# pci_is_numbered -- whether the bus numbers that a bridge holds can be followed
# In:       rdi = row:ptr, ecx = limit:u32
# Out:      eax = subordinate:u32, cf = they cannot
# Clobbers: none
# Context:  long mode, any IF
local_function pci_is_numbered
    movzx eax, byte ptr [rdi + PCI_ROW_BDF + 1]
    cmp al, [rdi + PCI_ROW_SECONDARY]
    jae .Lnumbered_not                          # the secondary bus must lie behind
    movzx eax, byte ptr [rdi + PCI_ROW_SUBORDINATE]
    cmp al, [rdi + PCI_ROW_SECONDARY]
    jb .Lnumbered_leave
    cmp ecx, eax                                # cf when the subordinate exceeds the limit
.Lnumbered_leave:
    ret
.Lnumbered_not:
    stc
    ret
end_function pci_is_numbered

# pci_highest_given -- the highest bus number that firmware gave to bridges of one bus
# In:       edi = bus:u32, esi = first:u32 (row), edx = end:u32 (row, exclusive), ecx = limit:u32
# Out:      rax = highest:u64 (the bus itself at least)
# Clobbers: rsi
# Context:  long mode, any IF
function pci_highest_given
    call_frame
    push rbx
    push rdi
    mov ebx, edi
.Lhighest_row:
    cmp esi, edx
    jae .Lhighest_done
    mov edi, esi
    inc esi
    call pci_row
    cmp byte ptr [rax + PCI_ROW_HEADER], PCI_HEADER_BRIDGE
    jne .Lhighest_row
    mov rdi, rax
    call pci_is_numbered
    jc .Lhighest_row
    cmp eax, ebx
    cmova ebx, eax
    jmp .Lhighest_row
.Lhighest_done:
    mov eax, ebx
    pop rdi
    pop rbx
    return_frame
end_function pci_highest_given

# pci_follow_bridge -- scan the bus behind a bridge; number it first where firmware did not
# In:       rdi = row:ptr, esi = taken:u32 (highest number in use), edx = limit:u32, ecx = depth:u32
# Out:      rax = highest:u64 (number in use behind it; taken where no number is left)
# Clobbers: rcx, rdx, rsi, rdi
# Context:  as frame_alloc, after the paging unit
function pci_follow_bridge
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov rbx, rdi
    mov r12d, esi
    mov r14d, ecx
    mov r13d, edx
    mov ecx, edx
    call pci_is_numbered
    jc .Lfollow_number
    mov r12d, eax
    mov esi, eax
    mov ecx, r14d
    call pci_scan_behind
    mov eax, r12d                               # what firmware reserved stays reserved
    jmp .Lfollow_leave
.Lfollow_number:
    mov byte ptr [rbx + PCI_ROW_SECONDARY], 0
    mov byte ptr [rbx + PCI_ROW_SUBORDINATE], 0
    mov eax, r12d
    cmp r12d, r13d
    jae .Lfollow_leave
    inc eax
    mov [rbx + PCI_ROW_SECONDARY], al
    mov [rbx + PCI_ROW_SUBORDINATE], r13b       # open to the limit while the scan goes on
    call pci_write_numbers
    mov rdi, rbx
    mov esi, r13d
    mov ecx, r14d
    call pci_scan_behind
    mov [rbx + PCI_ROW_SUBORDINATE], al
    mov r12d, eax
    call pci_write_numbers
    mov eax, r12d
.Lfollow_leave:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function pci_follow_bridge

# pci_scan_behind -- scan the secondary bus of a bridge
# In:       rdi = row:ptr, esi = limit:u32, ecx = depth:u32 (of the bridge's own bus)
# Out:      rax = highest:u64 (number in use behind it)
# Clobbers: rcx, rdx, rsi, rdi
# Context:  as frame_alloc, after the paging unit
local_function pci_scan_behind
    call_frame
    mov rdx, rdi
    lea rax, [rip + pci_table]
    sub rdx, rax
    shr rdx, PCI_ROW_SHIFT
    movzx edi, byte ptr [rdi + PCI_ROW_SECONDARY]
    inc ecx
    call pci_scan_bus
    return_frame
end_function pci_scan_behind

# pci_write_numbers -- write a bridge's bus numbers as its row has them
# In:       rbx = row:ptr
# Out:      none
# Clobbers: rax, rdx, rsi, rdi
# Context:  long mode, any IF, one caller at a time
local_function pci_write_numbers
    call_frame
    movzx edi, word ptr [rbx + PCI_ROW_BDF]
    mov esi, PCI_BUSES
    call pci_read32
    mov edx, eax
    and edx, PCI_LATENCY_MASK
    movzx eax, word ptr [rbx + PCI_ROW_SECONDARY]
    shl eax, 8
    or edx, eax
    movzx eax, byte ptr [rbx + PCI_ROW_BDF + 1]
    or edx, eax                                 # primary
    call pci_write32
    return_frame
end_function pci_write_numbers

# pci_write_windows -- open a bridge's windows as its row has them, close those of size 0, let it pass accesses on
# In:       rdi = row:ptr
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, any IF, one caller at a time
function pci_write_windows
    call_frame
    push rbx
    push r12
    mov rbx, rdi
    movzx edi, word ptr [rbx + PCI_ROW_BDF]
    lea rsi, [rbx + PCI_ROW_SLOTS + PCI_SLOT_WINDOW_MEMORY * PCI_SLOT_SIZE]
    call pci_window_ends
    mov edx, PCI_WINDOW_CLOSED_MEMORY
    jc .Lwindows_memory
    shr eax, 16
    and ecx, PCI_WINDOW_MEMORY_MASK << 16
    lea edx, [rax + rcx]
.Lwindows_memory:
    mov esi, PCI_MEMORY_WINDOW
    call pci_write32
    lea rsi, [rbx + PCI_ROW_SLOTS + PCI_SLOT_WINDOW_IO * PCI_SLOT_SIZE]
    call pci_window_ends
    mov edx, PCI_WINDOW_CLOSED_IO
    jc .Lwindows_io
    shr eax, 8
    and ecx, PCI_WINDOW_IO_MASK << 8
    lea edx, [rax + rcx]
.Lwindows_io:
    mov esi, PCI_IO_WINDOW
    call pci_write32
    xor edx, edx                                # ports have 16 bits
    mov esi, PCI_IO_WINDOW_HIGH
    call pci_write32
    cmp qword ptr [rbx + PCI_ROW_SLOTS + PCI_SLOT_WINDOW_PREFETCH * PCI_SLOT_SIZE + PCI_SLOT_LENGTH], 0
    jne .Lwindows_pass                          # firmware's
    mov edx, PCI_WINDOW_CLOSED_MEMORY
    mov esi, PCI_PREFETCH_WINDOW
    call pci_write32
.Lwindows_pass:
    mov rdi, rbx
    mov esi, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER
    call pci_enable
    pop r12
    pop rbx
    return_frame
end_function pci_write_windows

# pci_window_ends -- first and last byte of a window
# In:       rsi = slot:ptr
# Out:      rax = first:u64, rcx = last:u64, cf = the window is closed or has no place
# Clobbers: none
# Context:  long mode, any IF
local_function pci_window_ends
    mov rax, [rsi + PCI_SLOT_BASE]
    mov rcx, [rsi + PCI_SLOT_LENGTH]
    test rax, rax
    jz .Lwindow_closed
    lea rcx, [rax + rcx - 1]
    cmp rcx, rax                                # cf when the size is 0
    ret
.Lwindow_closed:
    stc
    ret
end_function pci_window_ends
