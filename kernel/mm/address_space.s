# Purpose:  address spaces: make one, load it, let it go.
# Mode:     64-bit
# Spec:     Intel SDM vol. 3, 4.5 (PML4), 4.10.4.1 (MOV to CR3 drops all translations that are not global)
# Exports:  space_create space_destroy space_switch space_begin space_end space_share_entry; space_count
# Invariants: below USER_FIRST and in the upper half every space has the kernel's own entries, also those that the kernel
#           makes later (space_share_entry). A space that a CPU has loaded is not destroyed. PCID stays off, so that a
#           space that is not loaded has no translations anywhere.

.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "layout.inc"
.include "paging.inc"
.include "percpu.inc"
.include "space.inc"

.set SHARED_ENTRIES, TABLE_ENTRIES - DIRECT_PML4_INDEX

.section .text, "ax"

# space_create -- a new address space: the kernel's part, and nothing of its own
# In:       none
# Out:      rax = space:ptr or error code, cf = out of memory: ERROR_NO_MEMORY
# Clobbers: none
# Context:  long mode, any IF, after the paging unit
function space_create
    call_frame
    push rcx
    push rdx
    push rdi
    push rsi
    push rbx
    push r12
    mov edi, SPACE_SIZE
    xor esi, esi
    call heap_alloc_zeroed
    jc .Lcreate_leave
    mov rbx, rax
    call frame_alloc_zeroed
    jc .Lcreate_no_root
    mov [rbx + SPACE_ROOT], rax
    mov r12, rax
    lea rdi, [rip + page_lock]
    call mm_lock_enter
    push rax
    push rax
    mov rdx, DIRECT_BASE
    mov rsi, [rip + page_root]
    add rsi, rdx
    lea rdi, [rdx + r12]
    mov rax, [rsi]                              # devices
    mov [rdi], rax
    add rsi, DIRECT_PML4_INDEX << TABLE_ENTRY_SHIFT
    add rdi, DIRECT_PML4_INDEX << TABLE_ENTRY_SHIFT
    mov ecx, SHARED_ENTRIES
    rep movsq
    mov rax, [rip + space_first]
    mov [rbx + SPACE_NEXT], rax
    mov [rip + space_first], rbx
    test rax, rax
    jz .Lcreate_linked
    mov [rax + SPACE_PREVIOUS], rbx
.Lcreate_linked:
    inc qword ptr [rip + space_count]
    mov rax, SPACE_MAGIC_VALUE
    xor rax, rbx
    mov [rbx + SPACE_MAGIC], rax
    pop rsi
    pop rsi
    lea rdi, [rip + page_lock]
    call mm_lock_leave
    mov rax, rbx
    clc
.Lcreate_leave:
    pop r12
    pop rbx
    pop rsi
    pop rdi
    pop rdx
    pop rcx
    return_frame
.Lcreate_no_root:
    mov r12, rax
    mov rdi, rbx
    call heap_free
    mov rax, r12
    stc
    jmp .Lcreate_leave
end_function space_create

# space_destroy -- give a space back: its tables, the frames that its pages own, its record
# In:       rdi = space:ptr
# Out:      rax = error:u64, cf = refused: ERROR_INVALID (no space), ERROR_BUSY (a CPU has it loaded)
# Clobbers: none
# Context:  long mode, any IF
function space_destroy
    call_frame
    push rcx
    push rdx
    push rdi
    push rsi
    push rbx
    push r12
    mov rbx, rdi
    call space_begin
    jc .Ldestroy_leave
    mov r12, rax
    cmp qword ptr [rbx + SPACE_CPUS], 0
    jne .Ldestroy_busy
    mov qword ptr [rbx + SPACE_MAGIC], 0
    mov rax, [rbx + SPACE_NEXT]
    mov rcx, [rbx + SPACE_PREVIOUS]
    test rax, rax
    jz .Ldestroy_last
    mov [rax + SPACE_PREVIOUS], rcx
.Ldestroy_last:
    lea rdx, [rip + space_first - SPACE_NEXT]
    test rcx, rcx
    cmovz rcx, rdx
    mov [rcx + SPACE_NEXT], rax
    dec qword ptr [rip + space_count]
    mov rdi, [rbx + SPACE_ROOT]
    mov edx, PAGE_LEVEL_PML4
    mov esi, USER_FIRST >> PML4_SHIFT
    mov ecx, DIRECT_PML4_INDEX
    call space_free_table
    mov rdi, r12
    call space_end
    mov rdi, rbx
    call heap_free
.Ldestroy_leave:
    pop r12
    pop rbx
    pop rsi
    pop rdi
    pop rdx
    pop rcx
    return_frame
.Ldestroy_busy:
    mov rdi, r12
    call space_end
    mov eax, ERROR_BUSY
    stc
    jmp .Ldestroy_leave
end_function space_destroy

# space_free_table -- give back a table, what it leads to, and the frames that its pages own
# In:       rdi = table:u64 (physical), rdx = level:u64[1..4], rsi = first:u64[0..511], rcx = end:u64[1..512] (entries to
#           look at)
# Out:      none
# Clobbers: rax
# Context:  long mode, page_lock held; no CPU has it loaded
local_function space_free_table
    call_frame
    push rbx
    push r12
    push r13
    push r14
    push rcx
    push rdx
    push rdi
    push rsi
    mov rbx, DIRECT_BASE
    add rbx, rdi
    mov r12, rsi
    mov r13, rcx
    mov r14, rdx
.Lfree_table_entry:
    mov rdx, [rbx + r12 * 8]
    test dl, PTE_PRESENT
    jz .Lfree_table_next
    cmp r14d, PAGE_LEVEL_PT
    je .Lfree_table_page
    test dl, PTE_LARGE
    jnz .Lfree_table_page
    mov rdi, PTE_ADDRESS_MASK
    and rdi, rdx
    lea rdx, [r14 - 1]
    xor esi, esi
    mov ecx, TABLE_ENTRIES
    call space_free_table
    jmp .Lfree_table_next
.Lfree_table_page:
    push rdx
    push rdx
    mov rdx, r14
    call page_size_mask
    pop rdx
    pop rdx
    call page_free_owned
.Lfree_table_next:
    inc r12d
    cmp r12d, r13d
    jb .Lfree_table_entry
    mov rdi, [rbp - 0x38]                       # the table itself
    call frame_free
    pop rsi
    pop rdi
    pop rdx
    pop rcx
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function space_free_table

# space_switch -- load an address space on the CPU that runs
# In:       rdi = space:ptr (0 = the kernel's own)
# Out:      rax = error:u64, cf = refused: ERROR_INVALID (no space)
# Clobbers: none
# Context:  long mode, any IF, not in the middle of work on a space
function space_switch
    call_frame
    push rcx
    push rdx
    pushfq
    cli
    mov rax, [rip + page_root]
    test rdi, rdi
    jz .Lswitch_known
    mov rax, SPACE_MAGIC_VALUE
    xor rax, rdi
    cmp [rdi + SPACE_MAGIC], rax
    jne .Lswitch_invalid
    mov rax, [rdi + SPACE_ROOT]
.Lswitch_known:
    mov rdx, gs:[PERCPU_SPACE]
    cmp rdx, rdi
    je .Lswitch_done
    mov ecx, gs:[PERCPU_ID]
    test rdi, rdi
    jz .Lswitch_load
    lock bts qword ptr [rdi + SPACE_CPUS], rcx  # before: whoever changes its tables must tell this CPU
.Lswitch_load:
    mov cr3, rax
    mov gs:[PERCPU_SPACE], rdi
    test rdx, rdx
    jz .Lswitch_done
    lock btr qword ptr [rdx + SPACE_CPUS], rcx  # after: none of its translations is left here
.Lswitch_done:
    popfq
    xor eax, eax
.Lswitch_leave:
    pop rdx
    pop rcx
    return_frame
.Lswitch_invalid:
    popfq
    mov eax, ERROR_INVALID
    stc
    jmp .Lswitch_leave
end_function space_switch

# space_begin -- take the lock of the page tables and direct page_* at a space
# In:       rdi = space:ptr
# Out:      rax = flags:u64 (for space_end) or error code, if = off, cf = refused, no lock taken: ERROR_INVALID
# Clobbers: none
# Context:  long mode, any IF
function space_begin
    call_frame
    push rdi
    push rcx
    mov rcx, SPACE_MAGIC_VALUE
    xor rcx, rdi
    test rdi, rdi
    jz .Lbegin_invalid
    lea rdi, [rip + page_lock]
    call mm_lock_enter
    mov rdi, [rsp + 8]
    cmp [rdi + SPACE_MAGIC], rcx
    jne .Lbegin_unlock
    mov rcx, [rdi + SPACE_ROOT]
    mov gs:[PERCPU_ROOT], rcx
    mov gs:[PERCPU_FOCUS], rdi
    clc
.Lbegin_leave:
    pop rcx
    pop rdi
    return_frame
.Lbegin_unlock:
    mov rdi, rax
    call space_end
.Lbegin_invalid:
    mov eax, ERROR_INVALID
    stc
    jmp .Lbegin_leave
end_function space_begin

# space_end -- direct page_* at the kernel's own tables again and give the lock up; rax and cf stay as they are
# In:       rdi = flags:u64 (what space_begin gave)
# Out:      cf = as before, if = as before space_begin
# Clobbers: none
# Context:  long mode, page_lock held
function space_end
    call_frame
    push rdi
    push rsi
    mov qword ptr gs:[PERCPU_ROOT], 0
    mov qword ptr gs:[PERCPU_FOCUS], 0
    mov rsi, rdi
    lea rdi, [rip + page_lock]
    call mm_lock_leave
    pop rsi
    pop rdi
    return_frame
end_function space_end

# space_share_entry -- give every space a new entry of the kernel's PML4; it becomes present, no TLB need hear of it
# In:       rbx = entry:ptr (in the PML4 that is worked on)
# Out:      none
# Clobbers: none
# Context:  long mode, page_lock held
function space_share_entry
    push rax
    push rcx
    push rdx
    cmp qword ptr gs:[PERCPU_ROOT], 0
    jne .Lshare_leave                           # a space's own
    mov rcx, rbx
    and ecx, PAGE_MASK
    jz .Lshare_all                              # the first entry: devices
    cmp ecx, DIRECT_PML4_INDEX << TABLE_ENTRY_SHIFT
    jb .Lshare_leave
.Lshare_all:
    mov rdx, [rip + space_first]
.Lshare_next:
    test rdx, rdx
    jz .Lshare_leave
    mov rax, DIRECT_BASE
    add rax, [rdx + SPACE_ROOT]
    add rax, rcx
    push rcx
    mov rcx, [rbx]
    mov [rax], rcx
    pop rcx
    mov rdx, [rdx + SPACE_NEXT]
    jmp .Lshare_next
.Lshare_leave:
    pop rdx
    pop rcx
    pop rax
    ret
end_function space_share_entry

.section .bss, "aw", @nobits
    .balign 8
object space_first                              # of all spaces, 0 = none; the kernel's own has no record
    .skip 8
end_object space_first
object space_count
    .skip 8
end_object space_count
