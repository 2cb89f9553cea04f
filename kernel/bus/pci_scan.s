# Purpose:  find every PCI function: the root bus, and the buses behind bridges.
# Mode:     64-bit
# Spec:     PCI Local Bus 3.0, 6.2.1 (header); PCI-to-PCI Bridge 1.2, 3.2.5.3-5 (bus numbers), 5.1 (numbering);
#           PCI Express 5.0, 7.3.1 (a link has device 0 only)
# Exports:  pci_scan_bus pci_find_capability pci_table pci_count
# Invariants: function 0 is asked first, the others only where it says that they exist; only buses that a bridge
#           names are visited. A bus number that firmware gave stays; a bridge without one gets the next that is
#           free, depth first. A secondary bus always has a higher number than its primary, so nothing goes round.
#
#   00:1c.0 bridge | primary 0 | secondary 1 | subordinate 3 |
#     01:00.0 device    01:01.0 bridge | 1 | 2 | 3 |
#                         02:00.0 …
.intel_syntax noprefix
.include "macros.inc"
.include "pci.inc"

.section .text, "ax"

# pci_scan_bus -- record every function of a bus and of the buses behind it
# In:       edi = bus:u32[0..255], esi = limit:u32[0..255] (highest bus number that may be given out),
#           edx = parent:u32 (row of the bridge, PCI_PARENT_ROOT), ecx = depth:u32
# Out:      rax = highest:u64 (bus number in use from here down)
# Clobbers: rcx, rdx, rsi, rdi
# Context:  as frame_alloc, after the paging unit
function pci_scan_bus
    call_frame
    push rbx
    push r12
    push r13
    push r14
    push r15
    push r15                                    # RSP stays 16-aligned
    mov r12d, ecx
    mov r13d, esi
    mov r14d, [rip + pci_count]                 # first row of this bus
    call pci_scan_functions
    mov r15d, [rip + pci_count]                 # behind the last row of this bus
    mov esi, r14d
    mov edx, r15d
    mov ecx, r13d
    call pci_highest_given
    mov ebx, eax                                # highest number in use
.Lscan_bridge:
    cmp r14d, r15d
    jae .Lscan_done
    mov edi, r14d
    call pci_row
    inc r14d
    cmp byte ptr [rax + PCI_ROW_HEADER], PCI_HEADER_BRIDGE
    jne .Lscan_bridge
    cmp r12d, PCI_DEPTH_MAX
    jae .Lscan_bridge
    mov rdi, rax
    mov esi, ebx
    mov edx, r13d
    mov ecx, r12d
    call pci_follow_bridge
    cmp eax, ebx
    cmova ebx, eax
    jmp .Lscan_bridge
.Lscan_done:
    mov eax, ebx
    pop r15
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function pci_scan_bus

# pci_scan_functions -- record the functions of one bus
# In:       edi = bus:u32[0..255], edx = parent:u32
# Out:      none
# Clobbers: rax, rcx, rsi
# Context:  as frame_alloc, after the paging unit
local_function pci_scan_functions
    call_frame
    push rbx
    push rdi
    push r12
    push r13
    mov ebx, edi
    shl ebx, PCI_BUS_SHIFT                      # function 0 of the device
    call pci_open_bus
    jc .Lfunctions_done
    call pci_devices_behind
    mov r12d, eax                               # devices left
.Lfunctions_device:
    mov edi, ebx
    call pci_add_function
    jc .Lfunctions_next
    test eax, PCI_HEADER_MULTIFUNCTION << PCI_HEADER_TYPE_SHIFT
    jz .Lfunctions_next
    mov r13d, 1
.Lfunctions_function:
    lea edi, [rbx + r13]
    call pci_add_function
    inc r13d
    cmp r13d, PCI_FUNCTIONS_PER_DEVICE
    jb .Lfunctions_function
.Lfunctions_next:
    add ebx, PCI_FUNCTIONS_PER_DEVICE
    dec r12d
    jnz .Lfunctions_device
.Lfunctions_done:
    pop r13
    pop r12
    pop rdi
    pop rbx
    return_frame
end_function pci_scan_functions

# pci_open_bus -- make the configuration space of a bus reachable
# In:       edi = bus:u32[0..255]
# Out:      rax = error:u64, cf = it is not
# Clobbers: none
# Context:  as frame_alloc, after the paging unit
local_function pci_open_bus
    xor eax, eax
    cmp qword ptr [rip + ecam_base], 0
    jne ecam_map_bus
    ret                                         # the ports reach every bus; cf is clear: equal
end_function pci_open_bus

# pci_devices_behind -- how many device numbers can answer on a bus
# In:       edx = parent:u32 (row of the bridge, PCI_PARENT_ROOT)
# Out:      eax = devices:u32 (1 on a PCI Express link, where some devices answer to every number)
# Clobbers: rsi
# Context:  long mode, any IF, one caller at a time
local_function pci_devices_behind
    call_frame
    push rdi
    push rcx
    mov ecx, PCI_DEVICES_PER_BUS
    cmp edx, PCI_PARENT_ROOT
    je .Lbehind_known
    mov edi, edx
    call pci_row
    movzx edi, word ptr [rax + PCI_ROW_BDF]
    mov esi, PCI_CAPABILITY_EXPRESS
    call pci_find_capability
    jc .Lbehind_known
    mov esi, eax
    call pci_read32
    shr eax, PCI_EXPRESS_PORT_SHIFT
    and eax, PCI_EXPRESS_PORT_MASK
    cmp eax, PCI_EXPRESS_ROOT_PORT
    je .Lbehind_link
    cmp eax, PCI_EXPRESS_DOWNSTREAM_PORT
    jne .Lbehind_known
.Lbehind_link:
    mov ecx, 1
.Lbehind_known:
    mov eax, ecx
    pop rcx
    pop rdi
    return_frame
end_function pci_devices_behind

# pci_find_capability -- where a capability of a function begins
# In:       edi = bdf:u32[0..0xffff], esi = capability:u32[0..255]
# Out:      eax = offset:u32, cf = the function does not have it
# Clobbers: none
# Context:  long mode, any IF, one caller at a time
function pci_find_capability
    call_frame
    push rbx
    push rcx
    push rdx
    push rsi
    mov edx, esi
    mov esi, PCI_COMMAND
    call pci_read32
    test eax, PCI_STATUS_CAPABILITIES
    jz .Lcapability_none
    mov ecx, PCI_CAPABILITIES_MAX
    mov esi, PCI_CAPABILITIES
    call pci_read32
.Lcapability_next:
    mov esi, eax
    and esi, PCI_CAPABILITY_OFFSET_MASK
    cmp esi, PCI_CAPABILITY_FIRST
    jb .Lcapability_none                        # 0 ends the list
    call pci_read32                             # | … | next 15..8 | id 7..0 |
    cmp al, dl
    je .Lcapability_found
    shr eax, 8
    dec ecx
    jnz .Lcapability_next
.Lcapability_none:
    stc
    jmp .Lcapability_leave
.Lcapability_found:
    mov eax, esi
    clc
.Lcapability_leave:
    pop rsi
    pop rdx
    pop rcx
    pop rbx
    return_frame
end_function pci_find_capability

# pci_add_function -- record one function, where there is one
# In:       edi = bdf:u32[0..0xffff], edx = parent:u32
# Out:      eax = header:u32 (its dword PCI_HEADER), cf = absent, or the table is full
# Clobbers: rcx, rsi
# Context:  long mode, any IF, one caller at a time
local_function pci_add_function
    call_frame
    push rbx
    push rdi
    mov esi, PCI_ID
    call pci_read32
    jc .Ladd_leave
    mov ecx, eax
    mov eax, [rip + pci_count]
    cmp eax, PCI_ROWS_MAX
    jae .Ladd_full
    inc dword ptr [rip + pci_count]
    shl eax, PCI_ROW_SHIFT
    lea rbx, [rip + pci_table]
    add rbx, rax
    mov [rbx + PCI_ROW_BDF], di
    mov [rbx + PCI_ROW_VENDOR], ecx             # and the device behind it
    mov [rbx + PCI_ROW_PARENT], edx
    mov esi, PCI_CLASS
    call pci_read32
    shr eax, 8
    mov [rbx + PCI_ROW_CLASS], eax
    mov esi, PCI_HEADER
    call pci_read32
    mov ecx, eax
    shr eax, PCI_HEADER_TYPE_SHIFT
    and eax, PCI_HEADER_TYPE_MASK
    mov [rbx + PCI_ROW_HEADER], al
    mov rdi, rbx
    call pci_size_bars
    cmp byte ptr [rbx + PCI_ROW_HEADER], PCI_HEADER_BRIDGE
    jne .Ladd_done
    call pci_read_bridge
.Ladd_done:
    mov eax, ecx
    clc
.Ladd_leave:
    pop rdi
    pop rbx
    return_frame
.Ladd_full:
    inc dword ptr [rip + pci_lost]
    stc
    jmp .Ladd_leave
end_function pci_add_function

# pci_row -- the address of a row of pci_table
# In:       edi = index:u32[0..63]
# Out:      rax = row:ptr
# Clobbers: none
# Context:  long mode, any IF
function pci_row
    push rcx
    mov eax, edi
    shl rax, PCI_ROW_SHIFT
    lea rcx, [rip + pci_table]
    add rax, rcx
    pop rcx
    ret
end_function pci_row

.section .bss, "aw", @nobits
    .balign 64
object pci_table                                # PCI_ROW_*; the rows of a bus stand together, parents first
    .skip PCI_ROWS_MAX * PCI_ROW_SIZE
end_object pci_table
object pci_count                                # rows in use
    .skip 4
end_object pci_count
object pci_lost                                 # functions that found no row
    .skip 4
end_object pci_lost
