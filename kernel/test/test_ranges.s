# Purpose:  tests of the sets of ranges.
# Mode:     64-bit long mode
# Exports:  rows of section .ktap
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"
.include "check.inc"
.include "errors.inc"
.include "registers.inc"
.include "layout.inc"
.include "paging.inc"

.set TEST_RANGES_MAX, 3

.section .data, "aw"
range_set test_set, TEST_RANGES_MAX

ktap_text text_add, "add"
ktap_text text_subtract, "subtract"
ktap_text text_count, "count"
ktap_text text_first, "first"
ktap_text text_end, "end"
ktap_text text_overlap, "no overlap"
ktap_text text_row, "row"
ktap_text text_lost, "lost"
ktap_text text_full, "full"

.macro set_row n, first, end
    check text_first, [rip + test_set + RANGES_ROWS + \n * RANGE_SIZE + RANGE_FIRST], \first
    check text_end, [rip + test_set + RANGES_ROWS + \n * RANGE_SIZE + RANGE_END], \end
.endm

.macro set_call routine, first, end
    lea rdi, [rip + test_set]
    mov rsi, \first
    mov rdx, \end
    call \routine
.endm

.section .text, "ax"

# test_ranges_join -- ranges that touch become one; the rows ascend
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_ranges_join
    call_frame
    mov qword ptr [rip + test_set + RANGES_COUNT], 0
    set_call ranges_add, 0x5000, 0x6000
    check_done text_add
    set_call ranges_add, 0x1000, 0x2000
    check_done text_add
    check text_count, [rip + test_set + RANGES_COUNT], 2
    set_row 0, 0x1000, 0x2000
    set_row 1, 0x5000, 0x6000
    set_call ranges_add, 0x2000, 0x3000         # touches the first
    check text_count, [rip + test_set + RANGES_COUNT], 2
    set_row 0, 0x1000, 0x3000
    set_call ranges_add, 0x2800, 0x5001         # overlaps both
    check text_count, [rip + test_set + RANGES_COUNT], 1
    set_row 0, 0x1000, 0x6000
    set_call ranges_add, 0x7000, 0x7000         # empty
    check text_count, [rip + test_set + RANGES_COUNT], 1
    mov eax, KTAP_DONE
    return_frame
end_function test_ranges_join
ktap_test test_ranges_join, "ranges_join"

# test_ranges_subtract -- a hole at each end and in the middle, over several rows
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_ranges_subtract
    call_frame
    mov qword ptr [rip + test_set + RANGES_COUNT], 0
    set_call ranges_add, 0x1000, 0x9000
    set_call ranges_subtract, 0x0, 0x2000
    check_done text_subtract
    set_row 0, 0x2000, 0x9000
    set_call ranges_subtract, 0x8000, 0xa000
    set_row 0, 0x2000, 0x8000
    set_call ranges_subtract, 0x4000, 0x5000
    check text_count, [rip + test_set + RANGES_COUNT], 2
    set_row 0, 0x2000, 0x4000
    set_row 1, 0x5000, 0x8000
    set_call ranges_subtract, 0x3000, 0x6000
    set_row 0, 0x2000, 0x3000
    set_row 1, 0x6000, 0x8000
    set_call ranges_subtract, 0x4000, 0x5000    # touches nothing
    check text_count, [rip + test_set + RANGES_COUNT], 2
    set_call ranges_subtract, 0x0, 0x10000
    check text_count, [rip + test_set + RANGES_COUNT], 0
    mov eax, KTAP_DONE
    return_frame
end_function test_ranges_subtract
ktap_test test_ranges_subtract, "ranges_subtract"

# test_ranges_full -- a full set refuses and counts what it lost
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_ranges_full
    call_frame
    mov qword ptr [rip + test_set + RANGES_COUNT], 0
    mov qword ptr [rip + test_set + RANGES_LOST], 0
    set_call ranges_add, 0x1000, 0x2000
    set_call ranges_add, 0x3000, 0x4000
    set_call ranges_add, 0x5000, 0x6000
    check_done text_add
    set_call ranges_add, 0x7000, 0x8000
    check_refused text_full, ERROR_FULL
    set_call ranges_subtract, 0x1400, 0x1800    # would make two rows of one
    check_refused text_full, ERROR_FULL
    check text_lost, [rip + test_set + RANGES_LOST], 2
    set_row 0, 0x1000, 0x1400
    set_row 2, 0x5000, 0x6000
    mov eax, KTAP_DONE
    return_frame
end_function test_ranges_full
ktap_test test_ranges_full, "ranges_full"

# test_ranges_overlap -- the lowest row that overlaps is found; touching is not overlapping
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_ranges_overlap
    call_frame
    mov qword ptr [rip + test_set + RANGES_COUNT], 0
    set_call ranges_add, 0x1000, 0x2000
    set_call ranges_add, 0x3000, 0x4000
    set_call ranges_overlap, 0x2000, 0x3000
    check_cf text_overlap, 1
    set_call ranges_overlap, 0x4000, -1
    check_cf text_overlap, 1
    set_call ranges_overlap, 0x1fff, 0x3001
    check_cf text_overlap, 0
    set_call ranges_overlap, 0x3fff, 0x4000
    lea rcx, [rip + test_set + RANGES_ROWS + RANGE_SIZE]
    sub rax, rcx
    check text_row, rax, 0
    mov eax, KTAP_DONE
    return_frame
end_function test_ranges_overlap
ktap_test test_ranges_overlap, "ranges_overlap"
