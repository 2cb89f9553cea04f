"""Bugs in what the kernel reads of firmware about the machine, and in interrupts, time and processors."""

from __future__ import annotations

from tests.contract.planting import Plant, plant

BUGS: dict[str, tuple[Plant, ...]] = {
    "madt_tables": (
        plant("bus/acpi_madt.s", "madt_check", ("cmp ecx, edx ja .Lcheck_malformed", "cmp ecx, edx")),
        plant("bus/acpi_madt.s", "madt_check", ("cmp cl, [rbx + rdx] jb .Lcheck_malformed", "")),
        plant("bus/acpi_madt.s", "madt_add_cpu", ("je .Ladd_return", "")),
        plant(
            "bus/acpi_madt.s",
            "madt_read_entry",
            ("cmp byte ptr [rdi + MADT_OVERRIDE_BUS], 0", "cmp eax, eax"),
        ),
        plant("bus/acpi_madt.s", "madt_clear", ("mov [rip + madt_cpu_lost], eax", "")),
    ),
    "fadt_fields": (
        plant("bus/acpi_fadt.s", "fadt_read", ("cmp ebx, FADT_SIZE_RESET", "cmp ebx, FADT_RESET_REGISTER")),
        plant("bus/acpi_fadt.s", "fadt_port", ("cmp eax, PORT_MAX", "cmp eax, -1")),
        plant(
            "bus/acpi_fadt.s",
            "fadt_extended_port",
            ("cmp byte ptr [rsi + GAS_SPACE], GAS_SPACE_IO", "test al, 0"),
        ),
    ),
    "sleep_packages": (
        plant("bus/acpi_fadt.s", "aml_find_s5", ("add rdi, AML_NAME_SIZE", "add rdi, AML_NAME_SIZE + 1")),
        plant("bus/acpi_fadt.s", "aml_read_s5", ("shr ecx, AML_LENGTH_BYTES_SHIFT", "xor ecx, ecx")),
        plant("bus/acpi_fadt.s", "aml_read_small", ("cmp rcx, 3", "cmp rcx, 2")),
        plant("bus/acpi_fadt.s", "aml_read_small", ("ja .Lsmall_refused", "")),
    ),
    "power_off": (
        plant("bus/acpi_power.s", "acpi_power_off", ("movzx ecx, bh", "movzx ecx, bl")),
        plant("bus/acpi_power.s", "power_sleep", ("shl ecx, PM1_SLEEP_TYPE_SHIFT", "shl ecx, 9")),
        plant("bus/acpi_power.s", "power_enter_acpi", ("dec ebx", "test ebx, ebx")),
    ),
    "reboot_order": (
        plant("bus/acpi_power.s", "acpi_reboot", ("mov al, RESET_NOW", "mov al, RESET_PREPARE")),
        plant("bus/acpi_power.s", "acpi_reboot", ("dec ecx jnz .Lreboot_poll", "jmp .Lreboot_poll")),
        plant("bus/acpi_power.s", "power_reset_by_register", ("cmp rdi, PORT_MAX ja .Lregister_return", "")),
    ),
}
