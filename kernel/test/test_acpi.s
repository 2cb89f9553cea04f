# Purpose:  tests of the ACPI tables: what is found holds, what is malformed is refused.
# Mode:     64-bit long mode
# Spec:     ACPI 6.5, 5.2.6
# Exports:  rows of section .ktap
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"
.include "check.inc"
.include "errors.inc"
.include "layout.inc"
.include "acpi.inc"

.set SIGNATURE_FADT, 0x50434146                 # "FACP": every machine with ACPI has one
.set SIGNATURE_NONE, 0x5a5a5a5a
.set TEST_LENGTH, 0x40
.set TEST_CHECKSUM, 0x09                        # offset of the checksum in a table's header
.set ADDRESS_BEYOND, 1 << 60

ktap_text text_no_acpi, "no ACPI"
ktap_text text_sum, "checksum wrong"
ktap_text text_find, "not found"
ktap_text text_signature, "signature"
ktap_text text_none, "not found what is not there"
ktap_text text_map, "map"
ktap_text text_malformed, "malformed"
ktap_text text_short, "too short"
ktap_text text_long, "too long"
ktap_text text_address, "address beyond memory"
ktap_text text_alloc, "alloc"

.section .text, "ax"

# test_acpi_find -- the root table holds, a table is found by its signature, and only as often as it is there
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_acpi_find
    call_frame
    push rbx
    push r12
    mov rdi, [rip + acpi_root]
    test rdi, rdi
    jz .Lfind_no_acpi
    mov esi, [rdi + ACPI_LENGTH]
    call acpi_sum
    check_cf text_sum, 0
    mov edi, SIGNATURE_FADT
    xor esi, esi
    call acpi_find
    mov rbx, rax
    check_cf text_find, 0
    mov eax, [rbx + ACPI_SIGNATURE]
    check text_signature, rax, SIGNATURE_FADT
    mov rdi, rbx
    mov esi, [rbx + ACPI_LENGTH]
    call acpi_sum
    check_cf text_sum, 0
    mov edi, SIGNATURE_FADT
    mov esi, 1
    call acpi_find
    check_cf text_none, 1
    mov edi, SIGNATURE_NONE
    xor esi, esi
    call acpi_find
    check_cf text_none, 1
    mov eax, KTAP_DONE
.Lfind_leave:
    pop r12
    pop rbx
    return_frame
.Lfind_no_acpi:
    lea rdi, [rip + text_no_acpi]
    call ktap_skip
    jmp .Lfind_leave
end_function test_acpi_find
ktap_test test_acpi_find, "acpi_find"

# test_acpi_refuse -- a table of our own: taken with a right checksum, refused when checksum or length lie
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test. Each refusal is said on the serial line
local_function test_acpi_refuse
    call_frame
    push rbx
    push r12
    call frame_alloc_zeroed
    mov rbx, rax
    check_done text_alloc
    mov r12, DIRECT_BASE
    add r12, rbx
    mov dword ptr [r12 + ACPI_SIGNATURE], SIGNATURE_NONE
    mov dword ptr [r12 + ACPI_LENGTH], TEST_LENGTH
    mov rdi, r12
    mov esi, TEST_LENGTH
    call set_checksum
    mov rdi, rbx
    call acpi_map_table
    check text_map, rax, r12
    inc byte ptr [r12 + TEST_CHECKSUM]
    mov rdi, rbx
    call acpi_map_table
    check_refused text_malformed, ERROR_MALFORMED
    mov dword ptr [r12 + ACPI_LENGTH], ACPI_HEADER_SIZE - 1
    mov rdi, r12
    mov esi, ACPI_HEADER_SIZE - 1
    call set_checksum
    mov rdi, rbx
    call acpi_map_table
    check_refused text_short, ERROR_MALFORMED
    mov dword ptr [r12 + ACPI_LENGTH], -1
    mov rdi, rbx
    call acpi_map_table
    check_refused text_long, ERROR_MALFORMED
    mov rdi, ADDRESS_BEYOND
    call acpi_map_table
    check_refused text_address, ERROR_INVALID
    mov rdi, rbx
    call frame_free
    mov eax, KTAP_DONE
    pop r12
    pop rbx
    return_frame
end_function test_acpi_refuse
ktap_test test_acpi_refuse, "acpi_refuse_malformed"

# set_checksum -- make the bytes of a table sum to zero
# In:       rdi = table:ptr, esi = length:u32
# Out:      none
# Clobbers: rax, rsi
# Context:  long mode; in a test
local_function set_checksum
    mov byte ptr [rdi + TEST_CHECKSUM], 0
    xor eax, eax
.Lset_byte:
    sub al, [rdi + rsi - 1]
    dec esi
    jnz .Lset_byte
    mov [rdi + TEST_CHECKSUM], al
    ret
end_function set_checksum
