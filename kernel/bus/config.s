# Purpose:  PCI configuration space: one dword, read or written, through ECAM where it is known, else through ports.
# Mode:     64-bit
# Spec:     PCI Local Bus 3.0, 3.2.2.3.2 (ports); PCI Express 5.0, 7.2.2 (ECAM)
# Exports:  pci_read32 pci_write32 ecam_read32 ecam_write32 ecam_open ecam_map_bus pci_port_read32 pci_port_write32
# Invariants: ECAM is mapped bus by bus, only for buses that exist: 256 MB of page tables would cost more than the
#           enumeration. Two buses share one 2 MB page.
#
#   ports: 0xcf8 | 31 enable | 23..16 bus | 15..11 device | 10..8 function | 7..2 dword |     data at 0xcfc
#   ECAM:  base + | 27..20 bus | 19..15 device | 14..12 function | 11..2 dword |
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "layout.inc"
.include "pci.inc"

.section .text, "ax"

# pci_read32 -- read one dword of configuration space
# In:       edi = bdf:u32[0..0xffff], esi = offset:u32[0..4092]
# Out:      eax = value:u32, cf = not reachable, or all ones were read (which is how an absent
#           function answers, and a BAR that is being sized may)
# Clobbers: none
# Context:  long mode, any IF, one caller at a time
function pci_read32
    cmp qword ptr [rip + ecam_base], 0
    jne ecam_read32
    jmp pci_port_read32
end_function pci_read32

# pci_write32 -- write one dword of configuration space
# In:       edi = bdf:u32[0..0xffff], esi = offset:u32[0..4092], edx = value:u32
# Out:      cf = not reachable
# Clobbers: rax
# Context:  long mode, any IF, one caller at a time
function pci_write32
    cmp qword ptr [rip + ecam_base], 0
    jne ecam_write32
    jmp pci_port_write32
end_function pci_write32

# ecam_address -- where a dword of configuration space is mapped
# In:       edi = bdf:u32[0..0xffff], esi = offset:u32[0..4092]
# Out:      rax = address:ptr, cf = misaligned or out of range, or the bus is not mapped
# Clobbers: none
# Context:  long mode, any IF
function ecam_address
    test esi, ~ECAM_OFFSET_MAX
    jnz .Lecam_none
    cmp edi, PCI_BDF_MAX
    ja .Lecam_none
    mov eax, edi
    shr eax, PCI_BUS_SHIFT
    bt dword ptr [rip + ecam_mapped], eax
    jnc .Lecam_none
    mov eax, edi
    shl rax, ECAM_FUNCTION_SHIFT
    add rax, [rip + ecam_base]
    add rax, rsi
    clc
    ret
.Lecam_none:
    stc
    ret
end_function ecam_address

# ecam_read32 -- read one dword of PCIe configuration space
# In:       edi = bdf:u32[0..0xffff], esi = offset:u32[0..4092]
# Out:      eax = value:u32, cf = not reachable, or all ones were read (which is how an absent
#           function answers, and a BAR that is being sized may)
# Clobbers: none
# Context:  long mode, any IF
function ecam_read32
    call_frame
    call ecam_address
    jc .Lecam_read_absent
    mov eax, [rax]
    cmp eax, PCI_ID_ABSENT
    je .Lecam_read_absent
    clc
    return_frame
.Lecam_read_absent:
    mov eax, PCI_ID_ABSENT
    stc
    return_frame
end_function ecam_read32

# ecam_write32 -- write one dword of PCIe configuration space
# In:       edi = bdf:u32[0..0xffff], esi = offset:u32[0..4092], edx = value:u32
# Out:      cf = not reachable
# Clobbers: rax
# Context:  long mode, any IF
function ecam_write32
    call_frame
    call ecam_address
    jc .Lecam_write_leave
    mov [rax], edx
    clc
.Lecam_write_leave:
    return_frame
end_function ecam_write32

# ecam_open -- take a range of buses into use
# In:       rdi = base:u64 (physical, of bus 0), esi = first:u32[0..255], edx = last:u32[0..255]
# Out:      rax = error:u64, cf = refused: ERROR_MALFORMED
# Clobbers: none
# Context:  long mode, any IF, once
function ecam_open
    test edi, ECAM_BUS_SIZE - 1
    jnz .Lecam_open_refuse
    test rdi, rdi
    jz .Lecam_open_refuse
    mov rax, USER_FIRST
    cmp rdi, rax
    jae .Lecam_open_refuse                      # the lower half belongs to ring 3 there
    cmp esi, edx
    ja .Lecam_open_refuse
    cmp edx, PCI_BUS_MAX
    ja .Lecam_open_refuse
    mov [rip + ecam_physical], rdi
    mov [rip + ecam_bus_first], esi
    mov [rip + ecam_bus_last], edx
    mov rax, MMIO_BASE
    add rax, rdi
    mov [rip + ecam_base], rax
    xor eax, eax
    ret
.Lecam_open_refuse:
    mov eax, ERROR_MALFORMED
    stc
    ret
end_function ecam_open

# ecam_map_bus -- make the configuration space of a bus reachable, uncacheable
# In:       edi = bus:u32[0..255]
# Out:      rax = error:u64, cf = refused: ERROR_NOT_FOUND (not in the window), or as mmio_map
# Clobbers: none
# Context:  as frame_alloc, after the paging unit
function ecam_map_bus
    call_frame
    push rcx
    push rdx
    push rdi
    push rsi
    xor eax, eax
    bt dword ptr [rip + ecam_mapped], edi
    cmc
    jnc .Lecam_map_leave
    cmp edi, [rip + ecam_bus_first]
    jb .Lecam_map_outside
    cmp edi, [rip + ecam_bus_last]
    ja .Lecam_map_outside
    mov ecx, edi
    mov esi, ECAM_BUS_SIZE
    mov rax, [rip + ecam_physical]
    test eax, LARGE_PAGE_MASK
    jnz .Lecam_map_one
    and ecx, ~1                                 # the even bus of the pair
    cmp ecx, [rip + ecam_bus_first]
    jb .Lecam_map_odd
    cmp ecx, [rip + ecam_bus_last]
    je .Lecam_map_one
    mov esi, LARGE_PAGE_SIZE
    jmp .Lecam_map_one
.Lecam_map_odd:
    mov ecx, edi
.Lecam_map_one:
    mov edi, ecx
    shl rdi, ECAM_BUS_SHIFT
    add rdi, rax
    mov edx, PTE_CACHE_UC
    call mmio_map
    jc .Lecam_map_leave
    bts dword ptr [rip + ecam_mapped], ecx
    inc ecx
    cmp esi, LARGE_PAGE_SIZE
    jne .Lecam_map_done
    bts dword ptr [rip + ecam_mapped], ecx
.Lecam_map_done:
    xor eax, eax
.Lecam_map_leave:
    pop rsi
    pop rdi
    pop rdx
    pop rcx
    return_frame
.Lecam_map_outside:
    mov eax, ERROR_NOT_FOUND
    stc
    jmp .Lecam_map_leave
end_function ecam_map_bus

# pci_port_read32 -- read one dword of configuration space through the ports
# In:       edi = bdf:u32[0..0xffff], esi = offset:u32[0..252]
# Out:      eax = value:u32, cf = not reachable, or all ones were read (which is how an absent
#           function answers, and a BAR that is being sized may)
# Clobbers: none
# Context:  long mode, any IF, one caller at a time: two ports make one access
function pci_port_read32
    call_frame
    push rdx
    push rdx                                    # RSP stays 16-aligned
    call pci_port_select
    jc .Lport_read_absent
    in eax, dx
    cmp eax, PCI_ID_ABSENT
    je .Lport_read_absent
    clc
    jmp .Lport_read_leave
.Lport_read_absent:
    mov eax, PCI_ID_ABSENT
    stc
.Lport_read_leave:
    pop rdx
    pop rdx
    return_frame
end_function pci_port_read32

# pci_port_write32 -- write one dword of configuration space through the ports
# In:       edi = bdf:u32[0..0xffff], esi = offset:u32[0..252], edx = value:u32
# Out:      cf = not reachable
# Clobbers: rax
# Context:  as pci_port_read32
function pci_port_write32
    call_frame
    push rbx
    push rdx
    mov ebx, edx
    call pci_port_select
    jc .Lport_write_leave
    mov eax, ebx
    out dx, eax
    clc
.Lport_write_leave:
    pop rdx
    pop rbx
    return_frame
end_function pci_port_write32

# pci_port_select -- latch the address of a dword
# In:       edi = bdf:u32[0..0xffff], esi = offset:u32[0..252]
# Out:      dx = port:u16 (of the data), cf = misaligned, or beyond what the ports reach
# Clobbers: rax, rdx
# Context:  as pci_port_read32
local_function pci_port_select
    test esi, ~PCI_PORT_OFFSET_MAX
    jnz .Lport_none
    cmp edi, PCI_BDF_MAX
    ja .Lport_none
    mov eax, edi
    shl eax, PCI_PORT_BDF_SHIFT
    or eax, esi
    or eax, PCI_PORT_ENABLE
    mov edx, PCI_PORT_ADDRESS
    out dx, eax
    mov edx, PCI_PORT_DATA
    clc
    ret
.Lport_none:
    stc
    ret
end_function pci_port_select

.section .bss, "aw", @nobits
    .balign 8
object ecam_base                                # virtual address of bus 0, 0 = ECAM is not known
    .skip 8
end_object ecam_base
object ecam_physical
    .skip 8
end_object ecam_physical
object ecam_bus_first
    .skip 4
end_object ecam_bus_first
object ecam_bus_last
    .skip 4
end_object ecam_bus_last
object ecam_mapped                              # bit n = bus n is mapped
    .skip (PCI_BUS_MAX + 1) / 8
end_object ecam_mapped
