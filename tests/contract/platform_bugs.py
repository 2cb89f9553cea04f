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
    "ticket_lock": (
        plant("cpu/lock.s", "lock_acquire", ("je .Lacquire_held", "jae .Lacquire_held \n jb .Lacquire_held")),
        plant(
            "cpu/lock.s",
            "lock_release",
            ("inc dword ptr [rdi + LOCK_SERVING]", "inc qword ptr [rdi + LOCK_SERVING]"),
        ),
        plant("cpu/lock.s", "lock_acquire_irqsave", ("cli", "")),
        plant("cpu/lock.s", "lock_release_irqrestore", ("test esi, RFLAGS_IF", "test esi, RFLAGS_RESERVED1")),
    ),
    "handler_table": (
        plant(
            "cpu/interrupt.s",
            "interrupt_install",
            ("cmp edi, EXCEPTION_COUNT", "cmp edi, EXCEPTION_COUNT - 1"),
        ),
        plant("cpu/interrupt.s", "interrupt_install", ("jne .Linstall_exists", "")),
        plant("cpu/interrupt.s", "interrupt_allocate", ("jbe .Lallocate_next", "jb .Lallocate_next")),
        plant("cpu/interrupt.s", "interrupt_remove", ("shl eax, HANDLER_SHIFT", "shl eax, 3")),
    ),
    "dispatched": (
        plant(
            "cpu/interrupt.s",
            "interrupt_dispatch",
            ("cmp r12d, VECTOR_LAPIC_SPURIOUS je .Ldispatch_return", ""),
        ),
        plant("cpu/interrupt.s", "interrupt_dispatch", ("jb .Ldispatch_return", "")),
        plant("cpu/interrupt.s", "interrupt_dispatch", ("mov qword ptr gs:[PERCPU_CATCH], 0", "")),
        plant("cpu/interrupt.s", "interrupt_stray", ("jnc .Lstray_return", "")),
        plant("cpu/interrupt.s", "interrupt_stray", ("jc .Lstray_told", "")),
    ),
    "redirection_entries": (
        plant("cpu/ioapic.s", "ioapic_compose", ("INTI_RESERVED << 2", "INTI_RESERVED")),
        plant("cpu/ioapic.s", "ioapic_compose", ("or rax, IOAPIC_LEVEL", "or rax, IOAPIC_ACTIVE_LOW")),
        plant(
            "cpu/ioapic.s",
            "ioapic_compose",
            ("cmp edx, IOAPIC_DESTINATION_MAX", "cmp edx, IOAPIC_DESTINATION_MAX + 1"),
        ),
    ),
    "ioapic_registers": (
        plant(
            "cpu/ioapic.s", "ioapic_write_entry", ("mov dword ptr [r12 + IOAPIC_WINDOW], IOAPIC_MASKED", "")
        ),
        plant("cpu/ioapic.s", "ioapic_write_entry", ("call lock_release_irqrestore", "")),
        plant("cpu/ioapic.s", "ioapic_open", ("ja .Lopen_return", "")),
        plant("cpu/ioapic.s", "ioapic_open", ("inc r12d", "")),
    ),
    "irq_lines": (
        plant("cpu/ioapic.s", "ioapic_find", ("jb .Lfind_found", "jbe .Lfind_found")),
        plant("cpu/ioapic.s", "irq_install", ("mov esi, [rbx + OVERRIDE_FLAGS]", "xor esi, esi")),
        plant("cpu/ioapic.s", "irq_install", ("mov edi, [rbx + OVERRIDE_GSI]", "")),
        plant("cpu/ioapic.s", "irq_set_mask", ("and eax, ~IOAPIC_MASKED", "")),
    ),
    "pic_ports": (
        plant("cpu/pic.s", "pic_disable", ("mov al, VECTOR_PIC + 8", "")),
        plant("cpu/pic.s", "pic_spurious", ("jz .Lspurious_none", "")),
        plant("cpu/pic.s", "pic_spurious", ("test edi, edi jz .Lspurious_return", "")),
    ),
    "interprocessor": (
        plant("cpu/ipi.s", "ipi_send_to", ("jz .Lsend_free", "jmp .Lsend_free")),
        plant("cpu/ipi.s", "ipi_send_to", ("dec ecx", "test ecx, ecx")),
        plant("cpu/ipi.s", "ipi_send_to", ("shl edi, LAPIC_ID_SHIFT", "")),
        plant("cpu/ipi.s", "ipi_send_others", ("LAPIC_ICR_ASSERT | LAPIC_ICR_OTHERS", "LAPIC_ICR_ASSERT")),
    ),
    "received_bytes": (
        plant("dev/serial_in.s", "serial_receive", ("jae .Lreceive_return", "ja .Lreceive_return")),
        plant(
            "dev/serial_in.s", "serial_receive", ("test al, UART_STATUS_DATA", "test al, UART_STATUS_OVERRUN")
        ),
        plant("dev/serial_in.s", "serial_get_char", ("call serial_receive", "")),
        plant("dev/serial_in.s", "serial_get_char", ("and edx, RING_SIZE - 1", "and edx, RING_SIZE / 2 - 1")),
    ),
    "msi_capability": (
        plant("bus/msi.s", "msi_write", ("jz .Lmsi_write_data", "jmp .Lmsi_write_data")),
        plant("bus/msi.s", "msi_write", ("and ebx, ~(MSI_ENABLE | MSI_MULTIPLE_ENABLE_MASK)", "")),
        plant("bus/msi.s", "msi_address", ("shl eax, MSI_DESTINATION_SHIFT", "")),
    ),
    "msix_table": (
        plant("bus/msi.s", "msix_entry", ("lea r13d, [rax + 1]", "mov r13d, eax")),
        plant("bus/msi.s", "msix_entry", ("cmp rsi, [rdx + PCI_SLOT_LENGTH]", "cmp rsi, rsi")),
        plant("bus/msi.s", "msix_entry", ("jae .Lentry_refused", "")),
        plant("bus/msi.s", "msix_install", ("and eax, ~MSIX_MASK_ALL", "")),
    ),
    "nanoseconds": (
        plant("cpu/clock.s", "clock_ticks_to_ns", ("shrd rax, rdx, CLOCK_SHIFT", "shr rax, CLOCK_SHIFT")),
        plant("cpu/clock.s", "clock_set", ("div rdi", "div edi")),
    ),
    "running_clock": (
        plant("cpu/clock.s", "clock_ns", ("sub rax, [rip + clock_base]", "xor eax, eax")),
        plant("cpu/clock.s", "clock_ns", ("or rax, rdx", "mov rax, rdx")),
        plant("cpu/clock.s", "clock_delay", ("cmp rax, rdi", "cmp rdi, rax")),
        plant("cpu/clock.s", "clock_delay", ("sub rax, rbx", "")),
    ),
    "rate_of_cpuid": (
        plant(
            "cpu/clock.s",
            "clock_from_cpuid",
            ("jb .Lcpuid_none mov eax, CPUID_LEAF_TSC", "mov eax, CPUID_LEAF_TSC"),
        ),
        plant("cpu/clock.s", "clock_from_cpuid", ("jbe .Lcpuid_return", "")),
        plant("cpu/clock.s", "clock_from_cpuid", ("movzx eax, ax", "")),
        plant("cpu/clock.s", "clock_choose", ("neg rcx", "")),
        plant("cpu/clock.s", "clock_choose", ("test edx, edx", "test edi, edi")),
    ),
    "measured_rates": (
        plant("cpu/calibrate.s", "calibrate_rate", ("jae .Lrate_wrong", "ja .Lrate_wrong")),
        plant("cpu/calibrate.s", "calibrate_rate", ("jc .Lrate_wrong", "")),
        plant("cpu/calibrate.s", "calibrate_rate", ("cmp rcx, rax", "cmp rcx, rcx")),
    ),
    "watched_references": (
        plant("cpu/calibrate.s", "calibrate_wait", ("and rbx, r11", "")),
        plant("cpu/calibrate.s", "calibrate_wait", ("dec r9d", "test r9d, r9d")),
        plant("cpu/calibrate.s", "calibrate_sample", ("mov [rdi + SAMPLE_COUNT], r9", "")),
    ),
    "port_timers": (
        plant("cpu/references.s", "pit_read", ("xor eax, PIT_MASK", "")),
        plant("cpu/references.s", "pit_read", ("out PIT_CONTROL, al", "")),
        plant("cpu/references.s", "pm_timer_read", ("and eax, PM_TIMER_MASK", "")),
    ),
    "hpet_tables": (
        plant("cpu/references.s", "hpet_open", ("lea edx, [rcx - 1]", "mov edx, ecx")),
        plant(
            "cpu/references.s",
            "hpet_open",
            ("HPET_CONFIGURATION], HPET_ENABLE", "HPET_CONFIGURATION], HPET_ENABLE - 1"),
        ),
        plant("cpu/references.s", "hpet_open", ("jnz .Lhpet_refused", "")),
    ),
    "one_shot": (
        plant("cpu/timer.s", "timer_counts", ("inc eax", "")),
        plant("cpu/timer.s", "timer_counts", ("jae .Lcounts_most", "")),
        plant("cpu/timer.s", "timer_arm", ("xor edi, edi", "")),
        plant("cpu/timer.s", "timer_interrupt", ("jb .Linterrupt_early", "jbe .Linterrupt_early")),
        plant("cpu/timer.s", "timer_interrupt", ("mov qword ptr gs:[PERCPU_DEADLINE], TIMER_NOT_ARMED", "")),
    ),
    "prepared_rows": (
        plant("cpu/processors.s", "cpu_prepare", ("inc dword ptr [rip + cpu_count]", "")),
        plant("cpu/processors.s", "cpu_prepare", ("sub rax, STACK_SIZE", "")),
        plant("cpu/processors.s", "cpu_prepare", ("cmp ecx, CPU_MAX", "cmp ecx, CPU_MAX + 1")),
    ),
    "low_pages": (
        plant("cpu/processors.s", "trampoline_find", ("jb .Lpage_other", "")),
        plant("cpu/processors.s", "trampoline_find", ("add rax, [rcx + MODULE_LENGTH]", "")),
        plant(
            "cpu/processors.s",
            "trampoline_find",
            ("cmp ebx, TRAMPOLINE_END", "cmp ebx, TRAMPOLINE_END + PAGE_SIZE"),
        ),
    ),
    "placed_trampoline": (
        plant("cpu/trampoline.s", "trampoline_place", ("JUMP_OFFSET]", "JUMP_OFFSET + 1]")),
        plant("cpu/trampoline.s", "trampoline_place", ("GDT_BASE_OFFSET] add", "GDT_BASE_OFFSET]\n sub")),
        plant("cpu/trampoline.s", "trampoline_place", ("offset boot_pml4 - VIRTUAL_BASE", "0")),
        plant("cpu/trampoline.s", "", ("- trampoline_gdt - 1", "- trampoline_gdt")),
    ),
    "told_and_awaited": (
        plant("cpu/processors.s", "processors_tell", ("mov r15d, [rip + cpu_count]", "mov r15d, 3")),
        plant("cpu/processors.s", "processors_tell", ("jne .Ltell_advance", "")),
        plant("cpu/processors.s", "processors_await", ("mov rbx, rax .Lawait_none:", ".Lawait_none:")),
        plant("cpu/processors.s", "processors_await", ("je .Lawait_none", "")),
        plant(
            "cpu/processors.s",
            "processors_park",
            ("mov eax, CPU_STATE_STARTING", "mov eax, CPU_STATE_ONLINE"),
        ),
    ),
    "calls": (
        plant("cpu/cpu.s", "cpu_call", ("cmp dword ptr [r12 + CPU_STATE], CPU_STATE_ONLINE", "cmp eax, eax")),
        plant("cpu/cpu.s", "cpu_call", ("jb .Lcall_wait", "jmp .Lcall_wait")),
        plant("cpu/cpu.s", "cpu_call", ("jbe .Lcall_wait", "")),
        plant("cpu/cpu.s", "cpu_called", ("jbe .Lcalled_return", "")),
        plant(
            "cpu/cpu.s",
            "cpu_called",
            ("lock cmpxchg [rdx + PERCPU_CALL_ROUTINE], rcx jne .Lcalled_return", ""),
        ),
    ),
    "one_end": (
        plant("cpu/cpu.s", "cpu_claim_end", ("inc ecx", "")),
        plant("cpu/cpu.s", "cpu_claim_end", ("jne cpu_stopped", "")),
        plant("cpu/cpu.s", "cpu_stop_others", ("LAPIC_DELIVERY_NMI |", "")),
    ),
    "line_and_interrupts": (
        plant("dev/serial.s", "serial_line_end", ("test esi, RFLAGS_IF", "test esi, RFLAGS_RESERVED1")),
        plant("dev/serial.s", "serial_line_end", ("jnz .Lline_end_return", "")),
        plant("dev/serial.s", "serial_line_begin", ("mov qword ptr [rip + serial_flags], rdi", "")),
    ),
}
