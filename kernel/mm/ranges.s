# Purpose:  sets of address ranges: what RAM there is, what of it is taken, which bus addresses are occupied.
# Mode:     64-bit
# Exports:  ranges_add ranges_subtract ranges_overlap
# Invariants: the rows of a set are disjoint, ascending and not adjacent; no row is empty. A range that finds no
#           row is counted in RANGES_LOST, never silently dropped. The layout is in include/paging.inc.

.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "layout.inc"
.include "paging.inc"

.section .text, "ax"

# ranges_overlap -- the lowest row of a set that shares an address with a range
# In:       rdi = set:ptr, rsi = first:u64, rdx = end:u64 (exclusive)
# Out:      rax = row:ptr, cf = none overlaps
# Clobbers: none
# Context:  long mode, any IF
function ranges_overlap
    push rcx
    lea rax, [rdi + RANGES_ROWS]
    mov rcx, [rdi + RANGES_COUNT]
.Loverlap_row:
    test rcx, rcx
    jz .Loverlap_none
    cmp [rax + RANGE_END], rsi
    jbe .Loverlap_next
    cmp [rax + RANGE_FIRST], rdx
    jae .Loverlap_none                          # rows ascend: all later ones lie above
    pop rcx
    clc
    ret
.Loverlap_next:
    add rax, RANGE_SIZE
    dec rcx
    jmp .Loverlap_row
.Loverlap_none:
    pop rcx
    stc
    ret
end_function ranges_overlap

# ranges_insert -- open a row at a place and fill it
# In:       rdi = set:ptr, rax = row:ptr (before which the new one comes), rsi = first:u64, rdx = end:u64
# Out:      rax = row:ptr (the new one) or error code, cf = no row is left
# Clobbers: none
# Context:  long mode, any IF
local_function ranges_insert
    push rcx
    push rbx
    mov rcx, [rdi + RANGES_COUNT]
    cmp rcx, [rdi + RANGES_CAPACITY]
    jae .Linsert_full
    shl rcx, RANGE_SHIFT
    lea rcx, [rdi + rcx + RANGES_ROWS]          # first unused row
.Linsert_move:
    cmp rcx, rax
    jbe .Linsert_fill
    mov rbx, [rcx - RANGE_SIZE + RANGE_FIRST]
    mov [rcx + RANGE_FIRST], rbx
    mov rbx, [rcx - RANGE_SIZE + RANGE_END]
    mov [rcx + RANGE_END], rbx
    sub rcx, RANGE_SIZE
    jmp .Linsert_move
.Linsert_fill:
    mov [rax + RANGE_FIRST], rsi
    mov [rax + RANGE_END], rdx
    inc qword ptr [rdi + RANGES_COUNT]
    pop rbx
    pop rcx
    clc
    ret
.Linsert_full:
    inc qword ptr [rdi + RANGES_LOST]
    mov eax, ERROR_FULL
    pop rbx
    pop rcx
    stc
    ret
end_function ranges_insert

# ranges_remove -- close the gap of one row
# In:       rdi = set:ptr, rax = row:ptr
# Out:      none
# Clobbers: none
# Context:  long mode, any IF
local_function ranges_remove
    push rax
    push rbx
    push rcx
    dec qword ptr [rdi + RANGES_COUNT]
    mov rcx, [rdi + RANGES_COUNT]
    shl rcx, RANGE_SHIFT
    lea rcx, [rdi + rcx + RANGES_ROWS]          # the last row, unused from now on
.Lremove_move:
    cmp rax, rcx
    jae .Lremove_done
    mov rbx, [rax + RANGE_SIZE + RANGE_FIRST]
    mov [rax + RANGE_FIRST], rbx
    mov rbx, [rax + RANGE_SIZE + RANGE_END]
    mov [rax + RANGE_END], rbx
    add rax, RANGE_SIZE
    jmp .Lremove_move
.Lremove_done:
    pop rcx
    pop rbx
    pop rax
    ret
end_function ranges_remove

# ranges_add -- put a range into a set; what it touches or overlaps is joined with it
# In:       rdi = set:ptr, rsi = first:u64, rdx = end:u64 (exclusive; nothing happens unless first < end)
# Out:      rax = error:u64, cf = no row is left
# Clobbers: none
# Context:  long mode, any IF
function ranges_add
    call_frame
    push rcx
    push rdx
    push rsi
    push rbx
    xor eax, eax
    cmp rsi, rdx
    jae .Ladd_done
    lea rax, [rdi + RANGES_ROWS]
.Ladd_search:
    mov rcx, [rdi + RANGES_COUNT]               # again each turn: joining removes rows
    shl rcx, RANGE_SHIFT
    lea rcx, [rdi + rcx + RANGES_ROWS]
    cmp rax, rcx
    jae .Ladd_insert
    cmp [rax + RANGE_END], rsi
    jb .Ladd_next                               # wholly below, not even adjacent
    cmp [rax + RANGE_FIRST], rdx
    ja .Ladd_insert                             # wholly above
    mov rbx, [rax + RANGE_FIRST]
    cmp rbx, rsi
    cmovb rsi, rbx
    mov rbx, [rax + RANGE_END]
    cmp rbx, rdx
    cmova rdx, rbx
    call ranges_remove
    jmp .Ladd_search
.Ladd_next:
    add rax, RANGE_SIZE
    jmp .Ladd_search
.Ladd_insert:
    call ranges_insert
    jc .Ladd_leave
    xor eax, eax
.Ladd_done:
    clc
.Ladd_leave:
    pop rbx
    pop rsi
    pop rdx
    pop rcx
    return_frame
end_function ranges_add

# ranges_subtract -- take a range out of a set
# In:       rdi = set:ptr, rsi = first:u64, rdx = end:u64 (exclusive; nothing happens unless first < end)
# Out:      rax = error:u64, cf = no row is left (the part above the hole is lost then)
# Clobbers: none
# Context:  long mode, any IF
function ranges_subtract
    call_frame
    push rbx
    push rdx
    push rsi
    push rcx                                    # RSP stays 16-aligned for the calls
    cmp rsi, rdx
    jae .Lsubtract_done
.Lsubtract_row:
    call ranges_overlap
    jc .Lsubtract_done
    mov rbx, [rax + RANGE_END]
    cmp [rax + RANGE_FIRST], rsi
    jb .Lsubtract_keep_low
    cmp rbx, rdx
    ja .Lsubtract_keep_high
    call ranges_remove
    jmp .Lsubtract_row
.Lsubtract_keep_high:
    mov [rax + RANGE_FIRST], rdx
    jmp .Lsubtract_done
.Lsubtract_keep_low:
    mov [rax + RANGE_END], rsi
    cmp rbx, rdx
    jbe .Lsubtract_row
    add rax, RANGE_SIZE                         # a hole in the middle: the rest becomes a row of its own
    mov rsi, rdx
    mov rdx, rbx
    call ranges_insert
    jc .Lsubtract_leave
.Lsubtract_done:
    xor eax, eax
.Lsubtract_leave:
    pop rcx
    pop rsi
    pop rdx
    pop rbx
    return_frame
end_function ranges_subtract
