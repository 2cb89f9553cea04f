# Purpose:  reads the information that a PVH loader (QEMU -kernel, Xen) leaves.
# Mode:     64-bit long mode, early page tables
# Spec:     xen/include/public/arch-x86/hvm/start_info.h
# Exports:  pvh_read
# Invariants: nothing is read beyond the early map; counts are bounded by the tables of bootinfo.
#
#   hvm_start_info          memory entry, 24 bytes     module entry, 32 bytes
#   +0  magic               +0  base, 64 bits          +0  base, 64 bits
#   +4  version             +8  length, 64 bits        +8  length, 64 bits
#   +8  flags               +16 type                   +16 command line, 64 bits
#   +12 number of modules   +20 reserved               +24 reserved
#   +16 modules, 64 bits
#   +24 command line, 64 bits
#   +32 RSDP, 64 bits
#   +40 memory map, 64 bits (version 1 and later)
#   +48 entries of the memory map
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "layout.inc"
.include "boot.inc"

.set START_VERSION, 4
.set START_MODULE_COUNT, 12
.set START_MODULES, 16
.set START_CMDLINE, 24
.set START_RSDP, 32
.set START_MEMORY, 40
.set START_MEMORY_COUNT, 48
.set START_SIZE, 56
.set START_VERSION_WITH_MEMORY, 1

.set PVH_MEMORY_BASE, 0
.set PVH_MEMORY_LENGTH, 8
.set PVH_MEMORY_TYPE, 16
.set PVH_MEMORY_SIZE, 24

.set PVH_MODULE_BASE, 0
.set PVH_MODULE_LENGTH, 8
.set PVH_MODULE_CMDLINE, 16
.set PVH_MODULE_SIZE, 32

.set RSDP_REVISION, 15                          # ACPI 6.5, 5.2.5.3: 2 and more = RSDP_SIZE_2

.section .text, "ax"

# pvh_read -- put what hvm_start_info says into bootinfo
# In:       rdi = information:u64 (physical)
# Out:      rax = offset:u64 (of the field that is malformed, when cf), cf = malformed; the rest has been read
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, early page tables
function pvh_read
    call_frame
    push rbx
    push r12
    mov esi, START_SIZE
    call bootinfo_reach
    jc .Lpvh_return
    mov rbx, rax
    call pvh_read_cmdline
    call pvh_read_rsdp
    xor r12d, r12d
    call pvh_read_modules
    jnc .Lpvh_memory
    mov r12d, START_MODULES
.Lpvh_memory:
    call pvh_read_memory
    jnc .Lpvh_result
    mov r12d, START_MEMORY
.Lpvh_result:
    mov rax, r12
    neg r12                                     # cf = r12 is not 0
.Lpvh_return:
    pop r12
    pop rbx
    return_frame
end_function pvh_read

# pvh_read_cmdline -- append the command line, if there is one
# In:       rbx = start_info:ptr
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, early page tables
local_function pvh_read_cmdline
    call_frame
    mov rdi, qword ptr [rbx + START_CMDLINE]
    mov esi, CMDLINE_SIZE
    call bootinfo_reach
    jc .Lcmdline_return
    mov rdi, rax
    call cmdline_append
.Lcmdline_return:
    return_frame
end_function pvh_read_cmdline

# pvh_read_rsdp -- copy the RSDP, if there is one
# In:       rbx = start_info:ptr
# Out:      none
# Clobbers: rax, rsi, rdi
# Context:  long mode, early page tables
local_function pvh_read_rsdp
    call_frame
    mov rdi, qword ptr [rbx + START_RSDP]
    mov esi, RSDP_SIZE_2
    call bootinfo_reach
    jc .Lrsdp_return
    mov rdi, rax
    cmp byte ptr [rdi + RSDP_REVISION], 2
    jae .Lrsdp_set
    mov esi, RSDP_SIZE_1
.Lrsdp_set:
    call bootinfo_set_rsdp
.Lrsdp_return:
    return_frame
end_function pvh_read_rsdp

# pvh_read_memory -- append the memory map
# In:       rbx = start_info:ptr
# Out:      cf = there is none, or it is out of reach
# Clobbers: rax, rdx, rsi, rdi, r8, r9
# Context:  long mode, early page tables
local_function pvh_read_memory
    call_frame
    cmp dword ptr [rbx + START_VERSION], START_VERSION_WITH_MEMORY
    jb .Lmemory_return
    mov r8d, dword ptr [rbx + START_MEMORY_COUNT]
    imul rsi, r8, PVH_MEMORY_SIZE
    mov rdi, qword ptr [rbx + START_MEMORY]
    call bootinfo_reach
    jc .Lmemory_return
    mov r9, rax
.Lmemory_entry:
    sub r8, 1
    jb .Lmemory_done
    mov rdi, qword ptr [r9 + PVH_MEMORY_BASE]
    mov rsi, qword ptr [r9 + PVH_MEMORY_LENGTH]
    mov edx, dword ptr [r9 + PVH_MEMORY_TYPE]
    call bootinfo_add_memory
    add r9, PVH_MEMORY_SIZE
    jmp .Lmemory_entry
.Lmemory_done:
    clc
.Lmemory_return:
    return_frame
end_function pvh_read_memory

# pvh_read_modules -- append the modules
# In:       rbx = start_info:ptr
# Out:      cf = the list is out of reach
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9
# Context:  long mode, early page tables
local_function pvh_read_modules
    call_frame
    mov r8d, dword ptr [rbx + START_MODULE_COUNT]
    test r8d, r8d
    jz .Lmodules_return                         # cf is clear
    mov rsi, r8
    shl rsi, 5                                  # PVH_MODULE_SIZE
    mov rdi, qword ptr [rbx + START_MODULES]
    call bootinfo_reach
    jc .Lmodules_return
    mov r9, rax
.Lmodules_entry:
    sub r8, 1
    jb .Lmodules_done
    mov rdi, qword ptr [r9 + PVH_MODULE_CMDLINE]
    mov esi, MODULE_NAME_SIZE
    call bootinfo_reach                         # 0 when it has none
    mov rdx, rax
    mov ecx, MODULE_NAME_SIZE
    mov rdi, qword ptr [r9 + PVH_MODULE_BASE]
    mov rsi, qword ptr [r9 + PVH_MODULE_LENGTH]
    call bootinfo_add_module
    add r9, PVH_MODULE_SIZE
    jmp .Lmodules_entry
.Lmodules_done:
    clc
.Lmodules_return:
    return_frame
end_function pvh_read_modules
.if PVH_MODULE_SIZE - (1 << 5)
    .error "pvh_read_modules shifts by the size of an entry"
.endif
