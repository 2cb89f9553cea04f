# Purpose:  commands of the shell about memory as a whole: mem, frames.
# Mode:     64-bit long mode
# Spec:     ACPI 6.5, 15.1 (address range types)
# Exports:  rows of section .shell
.intel_syntax noprefix
.include "macros.inc"
.include "layout.inc"
.include "boot.inc"
.include "shell.inc"

.set KIB_PER_FRAME_SHIFT, PAGE_SHIFT - 10
.set TYPE_OTHER, 0                              # index of the name of a type that ACPI has no number for
.set TYPE_LAST, MEMORY_TYPE_BAD

.section .rodata, "a"
    .balign 8
type_names:                                     # by MEMORY_TYPE_*
    .quad type_other, type_usable, type_reserved, type_acpi, type_nvs, type_bad
type_other:     .asciz "other"
type_usable:    .asciz "usable"
type_reserved:  .asciz "reserved"
type_acpi:      .asciz "acpi"
type_nvs:       .asciz "nvs"
type_bad:       .asciz "bad"

.section .text, "ax"

# command_mem -- mem: the memory map that the loader gave, what is used of it, where the image lies
# In:       rdi = words:ptr, rsi = count:u64
# Out:      rax = reason:asciz, cf = refused
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a command
local_function command_mem
    call_frame
    push rbx
    push r12
    lea rdi, [rip + name_mem]
    call out_begin
    lea rdi, [rip + key_total]
    mov rsi, qword ptr [rip + frame_total]
    shl rsi, KIB_PER_FRAME_SHIFT
    call out_number
    lea rdi, [rip + key_used]
    mov rsi, qword ptr [rip + frame_used]
    shl rsi, KIB_PER_FRAME_SHIFT
    call out_number
    lea rdi, [rip + key_image]
    mov rsi, offset __image_start_physical
    call out_hex
    lea rdi, [rip + key_image_end]
    mov rsi, offset __image_end_physical
    call out_hex
    lea rdi, [rip + key_map]
    call out_list
    lea rbx, [rip + bootinfo_memory_map]
    mov r12, qword ptr [rip + bootinfo_memory_count]
.Lmem_row:
    dec r12
    js .Lmem_end
    call out_row
    lea rdi, [rip + key_base]
    mov rsi, qword ptr [rbx + MEMORY_BASE]
    call out_hex
    lea rdi, [rip + key_length]
    mov rsi, qword ptr [rbx + MEMORY_LENGTH]
    call out_hex
    mov esi, dword ptr [rbx + MEMORY_TYPE]
    xor eax, eax                                # TYPE_OTHER
    cmp esi, TYPE_LAST
    cmova esi, eax
    lea rdi, [rip + type_names]
    mov rsi, qword ptr [rdi + rsi * 8]
    lea rdi, [rip + key_type]
    call out_text
    call out_row_end
    add rbx, MEMORY_ENTRY_SIZE
    jmp .Lmem_row
.Lmem_end:
    call out_list_end
    call out_end
    clc
    pop r12
    pop rbx
    return_frame
end_function command_mem
shell_text name_mem, "mem"
shell_text key_total, "total_kib"
shell_text key_used, "used_kib"
shell_text key_image, "image"
shell_text key_image_end, "image_end"
shell_text key_map, "map"
shell_text key_base, "base"
shell_text key_length, "length"
shell_text key_type, "type"
shell_command command_mem, "mem", "", "the memory map, what is used, where the image lies"

# command_frames -- frames: the counters of the frame allocator, of heap, stacks and address spaces
# In:       rdi = words:ptr, rsi = count:u64
# Out:      rax = reason:asciz, cf = refused
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a command
local_function command_frames
    call_frame
    push rbx
    push rbx
    lea rdi, [rip + name_frames]
    call out_begin
    lea rbx, [rip + frame_counters]
.Lframes_next:
    mov rdi, qword ptr [rbx]
    mov rsi, qword ptr [rbx + 8]
    mov rsi, qword ptr [rsi]
    call out_number
    add rbx, 16
    lea rax, [rip + frame_counters_end]
    cmp rbx, rax
    jb .Lframes_next
    call out_end
    clc
    pop rbx
    pop rbx
    return_frame
end_function command_frames
shell_text name_frames, "frames"
shell_text key_frames_total, "total"
shell_text key_frames_used, "used"
shell_text key_exhausted, "exhausted"
shell_text key_double, "double_frees"
shell_text key_damaged, "damaged"
shell_text key_bad, "bad_frees"
shell_text key_heap, "heap_blocks"
shell_text key_heap_frames, "heap_frames"
shell_text key_stacks, "stacks"
shell_text key_spaces, "spaces"
shell_text key_shoots, "tlb_shoot_downs"
shell_text key_timeouts, "tlb_timeouts"
.section .rodata, "a"
    .balign 8
frame_counters:                                 # key, address
    .quad key_frames_total, frame_total
    .quad key_frames_used, frame_used
    .quad key_exhausted, frame_exhausted
    .quad key_double, frame_double_frees
    .quad key_bad, frame_bad_frees
    .quad key_damaged, frame_damaged
    .quad key_heap, heap_blocks
    .quad key_heap_frames, heap_frames
    .quad key_stacks, stack_count
    .quad key_spaces, space_count
    .quad key_shoots, tlb_shoots
    .quad key_timeouts, tlb_timeouts
frame_counters_end:
.section .text, "ax"
shell_command command_frames, "frames", "", "the counters of frames, heap, stacks, address spaces"
