# Purpose:  a program of the Pixel VM from its bytes: checked, decoded, ready to run.
# Mode:     64-bit long mode
# Spec:     pixelvm/SPEC.md, section 7 (the bytes of a program)
# Exports:  vm_load, vm_program_check
# Invariants: the bytes may be anybody's: sizes are checked before they are used, words are not trusted (vm_decode). The
#           digest is not: whoever packed the program checked it, and the machine is safe without.
#
#   machine and cells and memory lie in one block of the heap:  VM_SIZE | (count + 1) cells | bytes of memory
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "pixelvm.inc"
.include "vm.inc"

.set PROGRAM_MAGIC, 0x00
.set PROGRAM_VERSION, 0x04
.set PROGRAM_COUNT, 0x08
.set PROGRAM_DATA, 0x0c
.set PROGRAM_MEMORY, 0x10
.set PROGRAM_ENTRY, 0x14
.set PROGRAM_WORDS, 0x38
.set MACHINE_ALIGN, 64

.section .text, "ax"

# vm_program_check -- whether bytes are a program within the machine's bounds
# In:       rdi = bytes:ptr, rsi = length:u64
# Out:      rax = error:u64, cf = they are not: ERROR_MALFORMED, ERROR_UNSUPPORTED (another version)
# Clobbers: rcx, rdx
# Context:  long mode, any IF
function vm_program_check
    cmp rsi, PROGRAM_WORDS
    jb .Lcheck_malformed
    cmp dword ptr [rdi + PROGRAM_MAGIC], VM_MAGIC
    jne .Lcheck_malformed
    cmp dword ptr [rdi + PROGRAM_VERSION], VM_VERSION
    jne .Lcheck_unsupported
    mov eax, dword ptr [rdi + PROGRAM_COUNT]
    lea ecx, [rax - 1]
    cmp ecx, VM_CODE_MAX
    jae .Lcheck_malformed
    cmp dword ptr [rdi + PROGRAM_ENTRY], eax
    jae .Lcheck_malformed
    mov ecx, dword ptr [rdi + PROGRAM_MEMORY]
    cmp ecx, VM_MEMORY_MAX
    ja .Lcheck_malformed
    test ecx, VM_MEMORY_STEP - 1
    jnz .Lcheck_malformed
    mov edx, dword ptr [rdi + PROGRAM_DATA]
    cmp edx, ecx
    ja .Lcheck_malformed
    lea rcx, [rdx + rax * 4 + PROGRAM_WORDS]
    cmp rsi, rcx
    jb .Lcheck_malformed
    xor eax, eax
    ret
.Lcheck_unsupported:
    mov eax, ERROR_UNSUPPORTED
    stc
    ret
.Lcheck_malformed:
    mov eax, ERROR_MALFORMED
    stc
    ret
end_function vm_program_check

# vm_load -- make a machine that stands at the entry of a program
# In:       rdi = bytes:ptr, rsi = length:u64, edx = fuel:u32
# Out:      rax = machine:ptr or error code, cf = refused: as vm_program_check, ERROR_NO_MEMORY
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  as heap_alloc; heap_free gives it back
function vm_load
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov rbx, rdi
    mov r13d, edx
    call vm_program_check
    jc .Lload_return
    mov eax, dword ptr [rbx + PROGRAM_COUNT]
    lea r14, [rax * 8 + VM_SIZE + VM_CELL_SIZE + MACHINE_ALIGN - 1]
    and r14, -MACHINE_ALIGN                     # where memory begins
    mov edi, dword ptr [rbx + PROGRAM_MEMORY]
    add rdi, r14
    mov esi, MACHINE_ALIGN
    call heap_alloc_zeroed
    jc .Lload_return
    mov r12, rax
    lea rdx, [r12 + VM_SIZE]
    mov qword ptr [r12 + VM_CELLS], rdx
    add r14, r12
    mov qword ptr [r12 + VM_MEMORY], r14
    mov eax, dword ptr [rbx + PROGRAM_ENTRY]
    mov dword ptr [r12 + VM_PC], eax
    mov dword ptr [r12 + VM_FUEL], r13d
    mov dword ptr [r12 + VM_SEED], VM_SEED_DEFAULT
    mov dword ptr [r12 + VM_FRAME_COUNT], 1
    mov eax, dword ptr [rbx + PROGRAM_MEMORY]
    mov dword ptr [r12 + VM_BYTES], eax
    mov esi, dword ptr [rbx + PROGRAM_COUNT]
    mov dword ptr [r12 + VM_COUNT], esi
    lea rdi, [rbx + PROGRAM_WORDS]
    call vm_decode
    mov eax, dword ptr [rbx + PROGRAM_COUNT]
    lea rsi, [rbx + rax * 4 + PROGRAM_WORDS]
    mov rdi, r14
    mov ecx, dword ptr [rbx + PROGRAM_DATA]
    rep movsb
    mov rax, r12
    clc
.Lload_return:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function vm_load
.if VM_CELL_SIZE - 8
    .error "vm_load takes cells of 8 bytes"
.endif
