# Purpose:  the boot unit `frames`: from the loader's memory map to the sets of RAM and the frame allocator's regions.
# Mode:     64-bit
# Spec:     ACPI 6.5, 15.1 (address range types)
# Exports:  frames_init, memory_ram
# Invariants: memory_ram holds the whole pages that are RAM, in use or not; the regions hold those of it that
#           nobody uses. Where entries of the map contradict each other, the one that is not usable memory wins.
#           RAM beyond the direct map (64 TB) is left out.
#
#   usable entries, inward to pages        - entries of other types, outward
#   - the first megabyte                   - kernel image        - modules
#   = memory_free -> regions, each: | states of its frames | states of its chunks | frames … |
.intel_syntax noprefix
.include "macros.inc"
.include "contract.inc"
.include "registers.inc"
.include "layout.inc"
.include "paging.inc"
.include "frame.inc"
.include "boot.inc"

.set MEMORY_RANGES_MAX, MEMORY_ENTRIES_MAX

.section .data, "aw"
range_set memory_ram, MEMORY_RANGES_MAX
range_set memory_free, MEMORY_RANGES_MAX

.section .rodata, "a"
note_frames:    .asciz "frames"
note_regions:   .asciz "regions"
note_lost:      .asciz "lost"

.section .text, "ax"

# frames_init -- make the regions of the frame allocator
# In:       rdi = row:ptr
# Out:      rax = result:u64 (BOOT_RESULT_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, early page tables; boot unit
function frames_init
    call_frame
    mov rdi, MEMORY_TYPE_USABLE
    call memory_add_type
    mov rdi, MEMORY_TYPE_ACPI
    call memory_add_type
    mov rdi, MEMORY_TYPE_NVS
    call memory_add_type
    call memory_subtract_taken
    call memory_make_regions
    lea rdi, [rip + note_frames]
    mov rsi, [rip + frame_total]
    call unit_note_dec
    lea rdi, [rip + note_regions]
    mov rsi, [rip + frame_region_count]
    call unit_note_dec
    mov rsi, [rip + memory_ram + RANGES_LOST]
    add rsi, [rip + memory_free + RANGES_LOST]
    jz .Lframes_complete
    lea rdi, [rip + note_lost]                  # the map has more pieces than the tables have rows
    call unit_note_dec
.Lframes_complete:
    mov eax, BOOT_RESULT_OK
    cmp qword ptr [rip + frame_total], 0
    jne .Lframes_leave
    mov eax, BOOT_RESULT_FAIL
.Lframes_leave:
    return_frame
end_function frames_init

# memory_entry_range -- the addresses of an entry of the memory map, cut to what the direct map reaches
# In:       rbx = entry:ptr
# Out:      rsi = first:u64, rdx = end:u64 (exclusive), cf = nothing is left
# Clobbers: rax
# Context:  long mode, any IF
function memory_entry_range
    mov rsi, [rbx + MEMORY_BASE]
    mov rax, 1 << DIRECT_SIZE_SHIFT
    sub rax, rsi
    jbe .Lentry_none
    mov rdx, [rbx + MEMORY_LENGTH]
    cmp rdx, rax
    cmova rdx, rax
    add rdx, rsi
    cmp rsi, rdx
    cmc
    ret                                         # cf when the length was 0
.Lentry_none:
    stc
    ret
end_function memory_entry_range

# memory_add_type -- add the whole pages of every entry of one type to memory_ram, usable ones to memory_free too
# In:       rdi = type:u64
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, any IF
local_function memory_add_type
    call_frame
    push rbx
    push r12
    mov r12, rdi
    lea rbx, [rip + bootinfo_memory_map]
    mov rcx, [rip + bootinfo_memory_count]
.Ladd_type_entry:
    dec rcx
    js .Ladd_type_done
    cmp [rbx + MEMORY_TYPE], r12
    jne .Ladd_type_next
    call memory_entry_range
    jc .Ladd_type_next
    add rsi, PAGE_MASK                          # inward: a page that is partly RAM is none
    and rsi, ~PAGE_MASK
    and rdx, ~PAGE_MASK
    lea rdi, [rip + memory_ram]
    call ranges_add
    cmp r12, MEMORY_TYPE_USABLE
    jne .Ladd_type_next
    lea rdi, [rip + memory_free]
    call ranges_add
.Ladd_type_next:
    add rbx, MEMORY_ENTRY_SIZE
    jmp .Ladd_type_entry
.Ladd_type_done:
    pop r12
    pop rbx
    return_frame
end_function memory_add_type

# memory_subtract_taken -- take out of memory_free what is not free, and out of memory_ram what is no RAM
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, any IF
local_function memory_subtract_taken
    call_frame
    push rbx
    push r12
    lea rbx, [rip + bootinfo_memory_map]
    mov r12, [rip + bootinfo_memory_count]
.Ltaken_entry:
    dec r12
    js .Ltaken_rest
    mov rcx, [rbx + MEMORY_TYPE]
    cmp rcx, MEMORY_TYPE_USABLE
    je .Ltaken_next
    call memory_entry_range
    jc .Ltaken_next
    lea rdi, [rip + memory_free]
    call memory_subtract_pages
    cmp rcx, MEMORY_TYPE_ACPI
    je .Ltaken_next
    cmp rcx, MEMORY_TYPE_NVS
    je .Ltaken_next
    lea rdi, [rip + memory_ram]
    call memory_subtract_pages
.Ltaken_next:
    add rbx, MEMORY_ENTRY_SIZE
    jmp .Ltaken_entry
.Ltaken_rest:
    lea rdi, [rip + memory_free]
    xor esi, esi
    mov edx, FRAME_FLOOR
    call memory_subtract_pages
    mov rsi, offset __image_start_physical
    mov rdx, offset __image_end_physical
    call memory_subtract_pages
    lea rbx, [rip + bootinfo_modules]
    mov r12, [rip + bootinfo_module_count]
.Ltaken_module:
    dec r12
    js .Ltaken_done
    mov rsi, [rbx + MODULE_BASE]
    mov rdx, [rbx + MODULE_LENGTH]
    add rdx, rsi
    call memory_subtract_pages
    add rbx, MODULE_ENTRY_SIZE
    jmp .Ltaken_module
.Ltaken_done:
    pop r12
    pop rbx
    return_frame
end_function memory_subtract_taken

# memory_subtract_pages -- take every page that a range touches out of a set
# In:       rdi = set:ptr, rsi = first:u64, rdx = end:u64 (exclusive)
# Out:      none
# Clobbers: rax, rdx, rsi
# Context:  long mode, any IF
local_function memory_subtract_pages
    call_frame
    and rsi, ~PAGE_MASK
    add rdx, PAGE_MASK
    and rdx, ~PAGE_MASK
    call ranges_subtract
    return_frame
end_function memory_subtract_pages

# memory_make_regions -- regions of the frame allocator from the rows of memory_free; none crosses 4 GB
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, any IF; once
local_function memory_make_regions
    call_frame
    push rbx
    push r12
    lea rbx, [rip + memory_free + RANGES_ROWS]
    mov r12, [rip + memory_free + RANGES_COUNT]
.Lregions_row:
    dec r12
    js .Lregions_done
    mov rdi, [rbx + RANGE_FIRST]
    mov rsi, [rbx + RANGE_END]
    add rbx, RANGE_SIZE
    mov rax, 1 << ZONE_ADDRESS_SHIFT
    cmp rdi, rax
    jae .Lregions_whole
    cmp rsi, rax
    jbe .Lregions_whole
    push rsi
    push rax
    mov rsi, rax
    call memory_make_region
    pop rdi
    pop rsi
.Lregions_whole:
    call memory_make_region
    jmp .Lregions_row
.Lregions_done:
    pop r12
    pop rbx
    return_frame
end_function memory_make_regions

# memory_make_region -- one region: the states of its blocks in its first pages, its frames behind
# In:       rdi = first:u64 (physical, a page), rsi = end:u64 (physical, a page, exclusive)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, any IF; the states are not written, they are valid below REGION_NEXT only
local_function memory_make_region
    push rbx
    push r8
    mov rbx, [rip + frame_region_count]
    shl rbx, REGION_SHIFT
    lea rax, [rip + frame_regions]
    add rbx, rax
    mov r8, DIRECT_BASE
    add r8, rdi                                 # the states of the frames begin here, one byte for each
    mov rax, rdi
    shr rax, PAGE_SHIFT
    mov rcx, r8
    sub rcx, rax
    mov [rbx + REGION_BLOCKS], rcx
    mov rdx, rsi
    sub rdx, rdi
    shr rdx, PAGE_SHIFT                         # their number; those of the chunks follow
    mov rax, rdi
    shr rax, LARGE_PAGE_SHIFT
    lea rcx, [r8 + rdx]
    sub rcx, rax
    mov [rbx + REGION_CHUNKS], rcx
    lea rcx, [rsi - 1]
    shr rcx, LARGE_PAGE_SHIFT
    sub rcx, rax
    lea rdx, [rdx + rcx + 1]                    # bytes of both
    add rdx, PAGE_MASK
    and rdx, ~PAGE_MASK
    add rdi, rdx
    cmp rdi, rsi
    jae .Lregion_leave                          # nothing left beside the states
    mov [rbx + REGION_FIRST], rdi
    mov [rbx + REGION_NEXT], rdi
    mov [rbx + REGION_END], rsi
    xor eax, eax
    mov rcx, rdi
    shr rcx, ZONE_ADDRESS_SHIFT
    setnz al
    mov [rip + frame_zone_top], rax
    sub rsi, rdi
    shr rsi, PAGE_SHIFT
    add [rip + frame_total], rsi
    inc qword ptr [rip + frame_region_count]
.Lregion_leave:
    pop r8
    pop rbx
    ret
end_function memory_make_region
