# Purpose:  tests of the frame allocator and of the memory map that it stands on.
# Mode:     64-bit long mode
# Exports:  rows of section .ktap
# Invariants: every frame that a test takes it gives back.
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"
.include "check.inc"
.include "errors.inc"
.include "registers.inc"
.include "layout.inc"
.include "paging.inc"
.include "frame.inc"
.include "boot.inc"

.set TEST_FRAMES, 200
.set PATTERN, 0x5a5a5a5a5a5a5a5a
.set ADDRESS_NO_RAM, 0xfffff000                 # the ROM

ktap_text text_alloc, "alloc"
ktap_text text_free, "free"
ktap_text text_offset, "offset in page"
ktap_text text_region, "no region"
ktap_text text_contents, "contents"
ktap_text text_used, "frames in use"
ktap_text text_total, "frames"
ktap_text text_double, "double free"
ktap_text text_misaligned, "misaligned free"
ktap_text text_foreign, "free of what is no frame"
ktap_text text_fresh, "free of what was never handed out"
ktap_text text_count, "counted"
ktap_text text_exhausted, "out of memory"
ktap_text text_overlap, "no overlap with what is taken"
ktap_text text_ram, "frames are not RAM"

.section .bss, "aw", @nobits
    .balign 8
frames:
    .skip TEST_FRAMES * 8

.section .text, "ax"

# test_frames_distinct -- many frames: aligned, of a region, each only once, and all come back
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_frames_distinct
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov r13, DIRECT_BASE
    mov r14, [rip + frame_used]
    lea rbx, [rip + frames]
    xor r12d, r12d
.Ldistinct_alloc:
    call frame_alloc
    mov [rbx + r12 * 8], rax
    check_done text_alloc
    mov rax, [rbx + r12 * 8]
    and eax, PAGE_MASK
    check text_offset, rax, 0
    mov rdi, [rbx + r12 * 8]
    call frame_region_find
    check_cf text_region, 0
    mov rax, [rbx + r12 * 8]
    mov [r13 + rax], rax                        # its own address
    inc r12d
    cmp r12d, TEST_FRAMES
    jb .Ldistinct_alloc
    lea rcx, [r14 + TEST_FRAMES]
    check text_used, [rip + frame_used], rcx
.Ldistinct_free:
    dec r12d
    mov rax, [rbx + r12 * 8]
    mov rsi, [r13 + rax]
    mov rdx, rax                                # overwritten when another frame has the same place
    lea rdi, [rip + text_contents]
    call ktap_check
    mov rdi, [rbx + r12 * 8]
    call frame_free
    check_done text_free
    test r12d, r12d
    jnz .Ldistinct_free
    check text_used, [rip + frame_used], r14
    mov eax, KTAP_DONE
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function test_frames_distinct
ktap_test test_frames_distinct, "frames_are_distinct"

# test_frames_refuse -- what is no frame in use cannot be freed
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_frames_refuse
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov r12, [rip + frame_double_frees]
    call frame_alloc
    mov rbx, rax
    check_done text_alloc
    lea rdi, [rbx + 8]
    call frame_free
    check_refused text_misaligned, ERROR_INVALID
    mov rdi, rbx
    call frame_free
    check_done text_free
    mov r13, [rip + frame_used]
    mov rdi, rbx
    call frame_free
    check_refused text_double, ERROR_NOT_FOUND
    inc r12
    check text_count, [rip + frame_double_frees], r12
    mov edi, IMAGE_PHYSICAL
    call frame_free
    check_refused text_foreign, ERROR_INVALID
    mov edi, ADDRESS_NO_RAM
    call frame_free
    check_refused text_foreign, ERROR_INVALID
    xor edi, edi
    call frame_free
    check_refused text_foreign, ERROR_INVALID
    mov rax, [rip + frame_region_count]
    dec rax
    shl rax, REGION_SHIFT
    lea rdi, [rip + frame_regions]
    mov rdi, [rdi + rax + REGION_END]
    sub rdi, PAGE_SIZE                          # the highest frame of all: free, or never touched
    call frame_free
    check_cf text_fresh, 1
    check text_used, [rip + frame_used], r13
    mov eax, KTAP_DONE
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function test_frames_refuse
ktap_test test_frames_refuse, "frames_refuse_bad_frees"

# test_frames_zeroed -- a frame that was written to and freed comes back cleared where that is asked for
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_frames_zeroed
    call_frame
    push rbx
    push r12
    call frame_alloc
    mov rbx, rax
    check_done text_alloc
    mov rdi, DIRECT_BASE
    add rdi, rbx
    mov rax, PATTERN
    mov ecx, PAGE_SIZE / 8
    rep stosq
    mov rdi, rbx
    call frame_free
    call frame_alloc_zeroed
    mov rbx, rax
    check_done text_alloc
    mov rdi, DIRECT_BASE
    add rdi, rbx
    xor eax, eax
    mov ecx, PAGE_SIZE / 8
    repe scasq
    setne al
    check text_contents, rax, 0
    mov rdi, rbx
    call frame_free
    mov eax, KTAP_DONE
    pop r12
    pop rbx
    return_frame
end_function test_frames_zeroed
ktap_test test_frames_zeroed, "frames_zeroed"

# test_frames_exhausted -- with no block and no untouched memory left a request is refused by its code, and counted
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_frames_exhausted
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov r12, [rip + frame_region_now]
    mov r13, [rip + frame_region_now + 8]
    mov rbx, [rip + frame_list_masks]
    mov r14, [rip + frame_exhausted]
    mov rax, [rip + frame_region_count]
    mov [rip + frame_region_now], rax
    mov [rip + frame_region_now + 8], rax
    mov qword ptr [rip + frame_list_masks], 0   # of both zones
    call frame_alloc
    check_refused text_exhausted, ERROR_NO_MEMORY
    call frame_alloc_zeroed
    check_refused text_exhausted, ERROR_NO_MEMORY
    mov [rip + frame_region_now], r12
    mov [rip + frame_region_now + 8], r13
    mov [rip + frame_list_masks], rbx
    add r14, 2
    check text_count, [rip + frame_exhausted], r14
    mov eax, KTAP_DONE
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function test_frames_exhausted
ktap_test test_frames_exhausted, "frames_run_out"

# test_frames_map -- no region overlaps what the memory map reserves, the image, a module, or the first megabyte
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_frames_map
    call_frame
    push rbx
    push r12
    push r13
    push r14
    lea rbx, [rip + frame_regions]
    mov r12, [rip + frame_region_count]
    xor r13d, r13d                              # frames
.Lmap_region:
    mov rax, [rbx + REGION_END]
    sub rax, [rbx + REGION_FIRST]
    shr rax, PAGE_SHIFT
    add r13, rax
    mov r14, [rbx + REGION_FIRST]
    sub r14, PAGE_SIZE                          # the states of the blocks end right before the frames
    mov rdi, rbx
    mov rsi, r14
    call check_region
    add rbx, REGION_SIZE
    dec r12
    jnz .Lmap_region
    check text_total, [rip + frame_total], r13
    mov eax, KTAP_DONE
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function test_frames_map
ktap_test test_frames_map, "frames_respect_the_memory_map"

# check_region -- hold one region against everything that has an owner
# In:       rdi = region:ptr, rsi = first:u64 (of its states)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; in a test
local_function check_region
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov r12, rsi
    mov r13, [rdi + REGION_END]
    lea rbx, [rip + bootinfo_memory_map]
    mov r14, [rip + bootinfo_memory_count]
.Lregion_entry:
    cmp qword ptr [rbx + MEMORY_TYPE], MEMORY_TYPE_USABLE
    je .Lregion_next
    mov rdi, [rbx + MEMORY_BASE]
    mov rsi, [rbx + MEMORY_LENGTH]
    add rsi, rdi
    call check_apart
.Lregion_next:
    add rbx, MEMORY_ENTRY_SIZE
    dec r14
    jnz .Lregion_entry
    mov edi, offset __image_start_physical
    mov esi, offset __image_end_physical
    call check_apart
    xor edi, edi
    mov esi, FRAME_FLOOR
    call check_apart
    lea rdi, [rip + memory_ram]
    mov rsi, r12
    mov rdx, r13
    call ranges_overlap
    check_cf text_ram, 0
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function check_region

# check_apart -- a range must not overlap the region in hand
# In:       rdi = first:u64, rsi = end:u64, r12 = region_first:u64, r13 = region_end:u64
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, GS base set; in a test
local_function check_apart
    call_frame
    cmp rsi, r12
    setbe al
    cmp rdi, r13
    setae cl
    or al, cl
    movzx eax, al
    check text_overlap, rax, 1
    return_frame
end_function check_apart
