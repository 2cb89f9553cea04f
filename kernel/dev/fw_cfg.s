# Purpose:  reads files of QEMU's firmware configuration device.
# Mode:     64-bit long mode; port I/O only
# Spec:     QEMU docs/specs/fw_cfg
# Exports:  fw_cfg_find, fw_cfg_read
# Invariants: on a machine without the device nothing is found; the directory's length is bounded.
#
#   port 0x510: selector, 16 bits      port 0x511: data, a byte at a time
#   directory (selector 0x19): count:u32 big-endian, then entries of 64 bytes:
#   +0 size:u32 big-endian   +4 selector:u16 big-endian   +6 reserved   +8 name, zero-ended, 56 bytes
.intel_syntax noprefix
.include "macros.inc"

.set FW_CFG_SELECTOR_PORT, 0x510
.set FW_CFG_DATA_PORT, 0x511
.set FW_CFG_SIGNATURE, 0x0000
.set FW_CFG_DIRECTORY, 0x0019
.set FW_CFG_SIGNATURE_VALUE, 0x554d4551         # "QEMU"
.set FW_CFG_FILES_MAX, 1024

.set FILE_SIZE, 0
.set FILE_SELECTOR, 4
.set FILE_NAME, 8
.set FILE_NAME_LAST, 63                         # offset of the byte that ends the longest name
.set FILE_ENTRY_SIZE, 64

.section .text, "ax"

# fw_cfg_select -- choose what the data port reads
# In:       edi = selector:u16
# Out:      none
# Clobbers: rax, rdx
# Context:  long mode, any IF
local_function fw_cfg_select
    mov eax, edi
    mov edx, FW_CFG_SELECTOR_PORT
    out dx, ax
    ret
end_function fw_cfg_select

# fw_cfg_read_next -- read on from where the data port stands
# In:       rdi = buffer:ptr, rcx = length:u64
# Out:      none
# Clobbers: rcx, rdx, rdi
# Context:  long mode, any IF
local_function fw_cfg_read_next
    mov edx, FW_CFG_DATA_PORT
    rep insb
    ret
end_function fw_cfg_read_next

# fw_cfg_read -- read the start of an item
# In:       edi = selector:u16, rsi = buffer:ptr, rdx = length:u64
# Out:      none
# Clobbers: rax, rcx, rdx, rdi
# Context:  long mode, any IF
function fw_cfg_read
    call_frame
    mov rcx, rdx
    call fw_cfg_select
    mov rdi, rsi
    call fw_cfg_read_next
    return_frame
end_function fw_cfg_read

# fw_cfg_find -- look a file up in the directory
# In:       rdi = name:asciz
# Out:      eax = selector:u16, edx = size:u32, cf = there is no such file, or no fw_cfg
# Clobbers: rcx, rsi, rdi
# Context:  long mode, any IF
function fw_cfg_find
    call_frame
    push rbx
    push r12
    sub rsp, FILE_ENTRY_SIZE
    mov r12, rdi
    mov edi, FW_CFG_SIGNATURE
    mov rsi, rsp
    mov edx, 4
    call fw_cfg_read
    cmp dword ptr [rsp], FW_CFG_SIGNATURE_VALUE
    jne .Lfind_absent
    mov edi, FW_CFG_DIRECTORY
    mov rsi, rsp
    mov edx, 4
    call fw_cfg_read
    mov ebx, dword ptr [rsp]
    bswap ebx
    cmp ebx, FW_CFG_FILES_MAX
    ja .Lfind_absent
.Lfind_next:
    sub ebx, 1
    jb .Lfind_absent
    mov rdi, rsp
    mov ecx, FILE_ENTRY_SIZE
    call fw_cfg_read_next
    mov byte ptr [rsp + FILE_NAME_LAST], 0
    mov rsi, r12
    lea rdi, [rsp + FILE_NAME]
.Lfind_compare:
    mov al, byte ptr [rsi]
    cmp al, byte ptr [rdi]
    jne .Lfind_next
    inc rsi
    inc rdi
    test al, al
    jnz .Lfind_compare
    mov edx, dword ptr [rsp + FILE_SIZE]
    bswap edx
    movzx eax, word ptr [rsp + FILE_SELECTOR]
    xchg al, ah
    clc
    jmp .Lfind_return
.Lfind_absent:
    xor eax, eax
    xor edx, edx
    stc
.Lfind_return:
    lea rsp, [rbp - 16]
    pop r12
    pop rbx
    return_frame
end_function fw_cfg_find
