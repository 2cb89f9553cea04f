# Purpose:  ACPI tables: find the root pointer, check what it leads to, hand out tables by signature.
# Mode:     64-bit
# Spec:     ACPI 6.5, 5.2.5 (RSDP), 5.2.6 (header), 5.2.7 (RSDT), 5.2.8 (XSDT)
# Exports:  acpi_init acpi_find acpi_entry acpi_map_table acpi_sum
# Invariants: nothing of a table is used before its length and its checksum are found right; a table that is not is
#           refused with a line on the serial port, never followed. Tables are read through the direct map.
#
#   RSDP -> XSDT (entries of 8 bytes) or RSDT (of 4) -> table: | signature 4 | length 4 | … checksum … | body |
.intel_syntax noprefix
.include "macros.inc"
.include "contract.inc"
.include "errors.inc"
.include "layout.inc"
.include "boot.inc"
.include "acpi.inc"

.section .rodata, "a"
note_root:      .asciz "root"
note_tables:    .asciz "tables"
note_reason:    .asciz "reason"
reason_absent:  .asciz "no-rsdp"
reason_refused: .asciz "root-table-refused"
text_refused:   .asciz "acpi: table refused at "

.section .text, "ax"

# acpi_init -- find the root table
# In:       rdi = row:ptr
# Out:      rax = result:u64 (BOOT_RESULT_*; skip where the machine has no ACPI)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, after the paging unit; boot unit
function acpi_init
    call_frame
    call acpi_find_rsdp
    lea rsi, [rip + reason_absent]
    jc .Linit_skip
    call acpi_open_root
    lea rsi, [rip + reason_refused]
    jc .Linit_skip
    lea rdi, [rip + note_root]
    mov rsi, [rip + acpi_root]
    mov rax, DIRECT_BASE
    sub rsi, rax
    call unit_note
    lea rdi, [rip + note_tables]
    mov esi, [rip + acpi_count]
    call unit_note_dec
    mov eax, BOOT_RESULT_OK
    return_frame
.Linit_skip:
    lea rdi, [rip + note_reason]
    call unit_note_text
    mov eax, BOOT_RESULT_SKIP
    return_frame
end_function acpi_init

# acpi_find_rsdp -- the root pointer: the loader's, else the one that lies in the BIOS's memory
# In:       none
# Out:      rax = rsdp:ptr, cf = there is none that holds
# Clobbers: rcx, rdx, rsi, rdi
# Context:  as frame_alloc, after the paging unit
local_function acpi_find_rsdp
    call_frame
    lea rax, [rip + bootinfo_rsdp]
    cmp qword ptr [rip + bootinfo_rsdp_length], 0
    je .Lrsdp_search
    call acpi_check_rsdp
    jnc .Lrsdp_leave
.Lrsdp_search:
    mov edi, BIOS_DATA_EBDA
    mov esi, 2
    call page_cover
    jc .Lrsdp_leave
    movzx edi, word ptr [rax]
    shl edi, EBDA_SEGMENT_SHIFT
    jz .Lrsdp_rom
    mov esi, EBDA_SEARCH_SIZE
    call acpi_search
    jnc .Lrsdp_leave
.Lrsdp_rom:
    mov edi, BIOS_ROM_FIRST
    mov esi, BIOS_ROM_SIZE
    call acpi_search
.Lrsdp_leave:
    return_frame
end_function acpi_find_rsdp

# acpi_search -- look for the root pointer in a piece of memory, on 16-byte boundaries
# In:       rdi = pa:u64, rsi = length:u64
# Out:      rax = rsdp:ptr, cf = there is none that holds
# Clobbers: rcx, rdx, rsi, rdi
# Context:  as frame_alloc, after the paging unit
local_function acpi_search
    call_frame
    call page_cover
    jc .Lsearch_leave
    lea rsi, [rax + rsi - RSDP_SIZE_2]          # the last place where a whole one fits
    mov rcx, RSDP_SIGNATURE_VALUE
.Lsearch_next:
    cmp rax, rsi
    ja .Lsearch_none
    cmp [rax + RSDP_SIGNATURE], rcx
    jne .Lsearch_step
    call acpi_check_rsdp
    jnc .Lsearch_leave
.Lsearch_step:
    add rax, RSDP_STEP
    jmp .Lsearch_next
.Lsearch_none:
    stc
.Lsearch_leave:
    return_frame
end_function acpi_search

# acpi_check_rsdp -- signature and checksums of a root pointer
# In:       rax = rsdp:ptr (RSDP_SIZE_2 bytes can be read)
# Out:      cf = does not hold
# Clobbers: rdx, rdi
# Context:  long mode, any IF
local_function acpi_check_rsdp
    call_frame
    push rax
    push rsi
    mov rdx, RSDP_SIGNATURE_VALUE
    cmp [rax + RSDP_SIGNATURE], rdx
    jne .Lcheck_rsdp_wrong
    mov rdi, rax
    mov esi, RSDP_SIZE_1
    call acpi_sum
    jc .Lcheck_rsdp_leave
    cmp byte ptr [rdi + RSDP_REVISION], RSDP_REVISION_XSDT
    jb .Lcheck_rsdp_holds
    mov esi, RSDP_SIZE_2
    cmp dword ptr [rdi + RSDP_LENGTH], RSDP_SIZE_2
    jne .Lcheck_rsdp_holds                      # a copy cut to ACPI 1.0, or a revision that appends more
    call acpi_sum
    jmp .Lcheck_rsdp_leave
.Lcheck_rsdp_holds:
    clc
.Lcheck_rsdp_leave:
    pop rsi
    pop rax
    return_frame
.Lcheck_rsdp_wrong:
    stc
    jmp .Lcheck_rsdp_leave
end_function acpi_check_rsdp

# acpi_open_root -- check the root table that a root pointer names: the XSDT where there is one, else the RSDT
# In:       rax = rsdp:ptr
# Out:      cf = neither holds
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  as frame_alloc, after the paging unit
local_function acpi_open_root
    call_frame
    push rbx
    push r12
    mov rbx, rax
    cmp byte ptr [rbx + RSDP_REVISION], RSDP_REVISION_XSDT
    jb .Lroot_rsdt
    cmp dword ptr [rbx + RSDP_LENGTH], RSDP_SIZE_2
    jb .Lroot_rsdt
    mov rdi, [rbx + RSDP_XSDT]
    mov r12d, ACPI_XSDT_ENTRY_SIZE
    mov ecx, ACPI_SIGNATURE_XSDT
    test rdi, rdi
    jz .Lroot_rsdt
    call acpi_map_table
    jnc .Lroot_found
.Lroot_rsdt:
    mov edi, [rbx + RSDP_RSDT]
    mov r12d, ACPI_RSDT_ENTRY_SIZE
    mov ecx, ACPI_SIGNATURE_RSDT
    call acpi_map_table
    jc .Lroot_leave
.Lroot_found:
    cmp [rax + ACPI_SIGNATURE], ecx
    jne .Lroot_wrong
    mov [rip + acpi_root], rax
    mov [rip + acpi_entry_size], r12d
    mov eax, [rax + ACPI_LENGTH]
    sub eax, ACPI_HEADER_SIZE
    xor edx, edx
    div r12d
    mov [rip + acpi_count], eax
    clc
.Lroot_leave:
    pop r12
    pop rbx
    return_frame
.Lroot_wrong:
    stc
    jmp .Lroot_leave
end_function acpi_open_root

# acpi_find -- the table with a signature
# In:       edi = signature:u32 (4 characters), esi = skip:u32 (how many of that signature to pass over)
# Out:      rax = table:ptr, cf = there is none that holds
# Clobbers: none
# Context:  as frame_alloc, after acpi_init
function acpi_find
    call_frame
    push rbx
    push rcx
    push rdx
    push rdi
    push rsi
    push r12
    mov r12d, edi
    xor ebx, ebx
.Lfind_entry:
    cmp ebx, [rip + acpi_count]
    jae .Lfind_none
    call acpi_entry
    inc ebx
    mov rdx, rsi
    mov rdi, rax
    mov esi, ACPI_HEADER_SIZE
    call page_cover
    mov rsi, rdx
    jc .Lfind_entry
    cmp [rax + ACPI_SIGNATURE], r12d
    jne .Lfind_entry
    call acpi_map_table                         # says so itself when it refuses
    jc .Lfind_entry
    dec esi
    jns .Lfind_entry
    clc
.Lfind_leave:
    pop r12
    pop rsi
    pop rdi
    pop rdx
    pop rcx
    pop rbx
    return_frame
.Lfind_none:
    stc
    jmp .Lfind_leave
end_function acpi_find

# acpi_entry -- the address of one table, from the root table
# In:       ebx = index:u32
# Out:      rax = pa:u64
# Clobbers: rcx
# Context:  long mode, after acpi_init
function acpi_entry
    mov rcx, [rip + acpi_root]
    cmp dword ptr [rip + acpi_entry_size], ACPI_RSDT_ENTRY_SIZE
    je .Lentry_short
    mov rax, [rcx + rbx * ACPI_XSDT_ENTRY_SIZE + ACPI_HEADER_SIZE]
    ret
.Lentry_short:
    mov eax, [rcx + rbx * ACPI_RSDT_ENTRY_SIZE + ACPI_HEADER_SIZE]
    ret
end_function acpi_entry

# acpi_map_table -- make a whole table readable and check it
# In:       rdi = pa:u64
# Out:      rax = table:ptr or error code, cf = refused: ERROR_MALFORMED, or as page_cover
# Clobbers: rdx
# Context:  as frame_alloc, after the paging unit
function acpi_map_table
    call_frame
    push rsi
    push rdi
    mov esi, ACPI_HEADER_SIZE
    call page_cover
    jc .Lmap_table_refuse
    mov esi, [rax + ACPI_LENGTH]
    cmp esi, ACPI_HEADER_SIZE
    jb .Lmap_table_malformed
    cmp esi, ACPI_TABLE_MAX
    ja .Lmap_table_malformed
    call page_cover
    jc .Lmap_table_refuse
    mov rdi, rax
    call acpi_sum
    jc .Lmap_table_malformed
    mov rax, rdi
.Lmap_table_leave:
    pop rdi
    pop rsi
    return_frame
.Lmap_table_malformed:
    mov eax, ERROR_MALFORMED
.Lmap_table_refuse:
    mov rsi, rax
    call serial_line_begin
    lea rdi, [rip + text_refused]
    call serial_put_string
    mov rdi, [rsp]
    call serial_put_hex
    call serial_line_end
    mov rax, rsi
    stc
    jmp .Lmap_table_leave
end_function acpi_map_table

# acpi_sum -- whether the bytes of a table sum to zero
# In:       rdi = table:ptr, rsi = length:u64
# Out:      cf = they do not
# Clobbers: rax
# Context:  long mode, any IF
function acpi_sum
    push rcx
    xor eax, eax
    xor ecx, ecx
.Lsum_byte:
    cmp rcx, rsi
    jae .Lsum_done
    add al, [rdi + rcx]
    inc rcx
    jmp .Lsum_byte
.Lsum_done:
    neg al                                      # cf unless it was 0
    pop rcx
    ret
end_function acpi_sum

.section .bss, "aw", @nobits
    .balign 8
object acpi_root                                # the checked XSDT or RSDT
    .skip 8
end_object acpi_root
object acpi_entry_size
    .skip 4
end_object acpi_entry_size
object acpi_count                               # entries of it
    .skip 4
end_object acpi_count
