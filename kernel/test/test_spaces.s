# Purpose:  tests of address spaces, of copies from and to ring 3's memory, and of guarded stacks.
# Mode:     64-bit long mode
# Exports:  rows of section .ktap
# Invariants: every space and every stack that a test makes it gives back, and the kernel's own space is loaded again.
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"
.include "check.inc"
.include "errors.inc"
.include "registers.inc"
.include "layout.inc"
.include "paging.inc"
.include "percpu.inc"
.include "space.inc"

.set TEST_USER, USER_FIRST + 0x40000000
.set TEST_PAGES, 3
.set TEST_LENGTH, TEST_PAGES * PAGE_SIZE
.set PATTERN, 0x0123456789abcdef
.set COPY_LENGTH, 6000                          # more than one piece

ktap_text text_create, "create"
ktap_text text_alloc, "alloc"
ktap_text text_switch, "switch"
ktap_text text_destroy, "destroy"
ktap_text text_busy, "destroy while loaded"
ktap_text text_gone, "use after destroy"
ktap_text text_frames, "frames in use"
ktap_text text_value, "value"
ktap_text text_copy, "copy"
ktap_text text_range, "copy beyond ring 3"
ktap_text text_absent, "copy of what is not mapped"
ktap_text text_readonly, "copy to what is read-only"
ktap_text text_smap, "access without STAC"
ktap_text text_protect, "protect"
ktap_text text_both, "writable and executable"
ktap_text text_merge, "level of the page"
ktap_text text_map, "map"
ktap_text text_unmap, "unmap"
ktap_text text_stack, "stack"
ktap_text text_guard, "guard"
ktap_text text_double, "double free"
ktap_text text_no_smap, "this CPU has no SMAP"

.section .bss, "aw", @nobits
    .balign 8
buffer:
    .skip COPY_LENGTH

.section .text, "ax"

# make_space -- a space with a few pages, loaded
# In:       rdi = flags:u64 (of the pages)
# Out:      rax = space:ptr
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; in a test
local_function make_space
    call_frame
    push rbx
    push r12
    mov r12, rdi
    call space_create
    mov rbx, rax
    check_done text_create
    mov rdi, rbx
    mov rsi, TEST_USER
    mov ecx, TEST_LENGTH
    mov r8, r12
    call space_alloc
    check_done text_alloc
    mov rdi, rbx
    call space_switch
    check_done text_switch
    mov rax, rbx
    pop r12
    pop rbx
    return_frame
end_function make_space

# drop_space -- load the kernel's own space and destroy the test's
# In:       rdi = space:ptr
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; in a test
local_function drop_space
    call_frame
    push rbx
    push rbx
    mov rbx, rdi
    xor edi, edi
    call space_switch
    check_done text_switch
    mov rdi, rbx
    call space_destroy
    check_done text_destroy
    pop rbx
    pop rbx
    return_frame
end_function drop_space

# test_spaces_return -- what a space took it gives back; a loaded one is not destroyed, a destroyed one not used
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_spaces_return
    call_frame
    push rbx
    push r12
    mov edi, SPACE_SIZE                         # the heap keeps the slab of the records
    xor esi, esi
    call heap_alloc
    mov rbx, rax
    check_done text_alloc
    mov r12, [rip + frame_used]
    push rbx
    push rbx
    mov rdi, PTE_WRITE | PTE_NX
    call make_space
    mov rbx, rax
    mov rdi, rbx
    call space_destroy
    check_refused text_busy, ERROR_BUSY
    mov rdi, rbx
    call drop_space
    check text_frames, [rip + frame_used], r12
    mov rdi, rbx
    call space_switch
    check_refused text_gone, ERROR_INVALID
    mov rdi, rbx
    call space_destroy
    check_refused text_gone, ERROR_INVALID
    pop rdi
    pop rbx
    call heap_free
    mov eax, KTAP_DONE
    pop r12
    pop rbx
    return_frame
end_function test_spaces_return
ktap_test test_spaces_return, "spaces_give_everything_back"

# test_spaces_copy -- bytes to ring 3's memory and back; every bad range is refused, none ends the boot
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_spaces_copy
    call_frame
    push rbx
    push r12
    mov rdi, PTE_WRITE | PTE_NX
    call make_space
    mov rbx, rax
    mov r12, TEST_USER + 5
    lea rdi, [rip + buffer]
    mov rax, PATTERN
    mov ecx, COPY_LENGTH / 8
    rep stosq
    mov rdi, r12
    lea rsi, [rip + buffer]
    mov edx, COPY_LENGTH
    call copy_to_user
    check_done text_copy
    lea rdi, [rip + buffer]
    xor eax, eax
    mov ecx, COPY_LENGTH / 8
    rep stosq
    lea rdi, [rip + buffer]
    mov rsi, r12
    mov edx, COPY_LENGTH
    call copy_from_user
    check_done text_copy
    mov rax, PATTERN
    check text_value, [rip + buffer + COPY_LENGTH - 8], rax
    lea rdi, [rip + buffer]
    mov rsi, TEST_USER + TEST_LENGTH - 8
    mov edx, 9                                  # one byte too many
    call copy_from_user
    check_refused text_absent, ERROR_NOT_MAPPED
    lea rdi, [rip + buffer]
    mov rsi, USER_END - 8
    mov edx, 9
    call copy_from_user
    check_refused text_range, ERROR_INVALID
    mov rdi, offset buffer
    lea rsi, [rip + buffer]
    mov edx, 8
    call copy_to_user
    check_refused text_range, ERROR_INVALID
    mov rdi, r12
    lea rsi, [rip + buffer]
    mov rdx, -1
    call copy_to_user
    check_refused text_range, ERROR_INVALID
    mov rdi, rbx
    mov rsi, TEST_USER
    mov ecx, PAGE_SIZE
    mov r8, PTE_NX
    call space_protect
    check_done text_protect
    mov rdi, r12
    lea rsi, [rip + buffer]
    mov edx, 8
    call copy_to_user
    check_refused text_readonly, ERROR_NOT_MAPPED
    mov rdi, rbx
    call drop_space
    mov eax, KTAP_DONE
    pop r12
    pop rbx
    return_frame
end_function test_spaces_copy
ktap_test test_spaces_copy, "copies_to_and_from_user_memory"

# test_spaces_smap -- the kernel cannot touch a page of ring 3 by mistake
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_spaces_smap
    call_frame
    push rbx
    push r12
    mov rax, cr4
    test eax, CR4_SMAP
    jz .Lsmap_none
    mov rdi, PTE_WRITE | PTE_NX
    call make_space
    mov rbx, rax
    mov r12, TEST_USER
    check_fault text_smap, provoke_pf_read, r12, PROBE_PF | PF_PRESENT
    mov rdi, rbx
    call drop_space
    mov eax, KTAP_DONE
.Lsmap_leave:
    pop r12
    pop rbx
    return_frame
.Lsmap_none:
    lea rdi, [rip + text_no_smap]
    call ktap_skip
    jmp .Lsmap_leave
end_function test_spaces_smap
ktap_test test_spaces_smap, "user_pages_are_closed_to_the_kernel"

# test_spaces_merge -- a large page is split by a change of a part of it and comes back with the old rights
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_spaces_merge
    call_frame
    push rbx
    push r12
    call space_create
    mov rbx, rax
    check_done text_create
    mov rdi, rbx
    mov rsi, TEST_USER
    mov edx, LARGE_PAGE_SIZE
    mov ecx, LARGE_PAGE_SIZE
    mov r8, PTE_WRITE
    call space_map
    check_refused text_both, ERROR_INVALID
    mov rdi, rbx
    mov rsi, TEST_USER
    mov edx, LARGE_PAGE_SIZE
    mov ecx, LARGE_PAGE_SIZE
    mov r8, PTE_WRITE | PTE_NX
    call space_map
    check_done text_map
    mov r12, [rip + frame_used]
    mov rdi, rbx
    mov rsi, TEST_USER + 7 * PAGE_SIZE
    mov ecx, PAGE_SIZE
    mov r8, PTE_NX
    call space_protect
    check_done text_protect
    mov rdi, rbx
    mov rsi, TEST_USER
    call space_walk
    check text_merge, rdx, PAGE_LEVEL_PT
    lea rcx, [r12 + 1]
    check text_frames, [rip + frame_used], rcx
    mov rdi, rbx
    mov rsi, TEST_USER + 7 * PAGE_SIZE
    mov ecx, PAGE_SIZE
    mov r8, PTE_WRITE | PTE_NX
    call space_protect
    check_done text_protect
    mov rdi, rbx
    mov rsi, TEST_USER + 9 * PAGE_SIZE
    call space_walk
    check text_merge, rdx, PAGE_LEVEL_PD
    check text_frames, [rip + frame_used], r12
    mov rdi, rbx
    mov rsi, TEST_USER
    mov ecx, LARGE_PAGE_SIZE
    call space_unmap
    check_done text_unmap
    mov rdi, rbx
    call space_destroy
    check_done text_destroy
    mov eax, KTAP_DONE
    pop r12
    pop rbx
    return_frame
end_function test_spaces_merge
ktap_test test_spaces_merge, "large_pages_split_and_merge"

# test_stacks -- a stack can be used to its last byte, and not a byte further
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_stacks
    call_frame
    push rbx
    push r12
    mov edi, PAGE_SIZE + 1
    call stack_alloc
    mov rbx, rax
    check_done text_stack
    mov qword ptr [rbx - 8], 1
    mov qword ptr [rbx - 2 * PAGE_SIZE], 1
    lea r12, [rbx - 2 * PAGE_SIZE - 1]
    check_fault text_guard, provoke_pf_read, r12, PROBE_PF
    mov r12, rbx
    check_fault text_guard, provoke_pf_read, r12, PROBE_PF
    mov rdi, rbx
    call stack_free
    check_done text_stack
    lea r12, [rbx - 8]
    check_fault text_guard, provoke_pf_read, r12, PROBE_PF
    mov rdi, rbx
    call stack_free
    check_refused text_double, ERROR_NOT_FOUND
    mov edi, STACK_SLOT_SIZE
    call stack_alloc
    check_refused text_stack, ERROR_INVALID
    mov eax, KTAP_DONE
    pop r12
    pop rbx
    return_frame
end_function test_stacks
ktap_test test_stacks, "stacks_have_guard_pages"
