"""Every diagnosis rule on a death that was made for it, and silence where it has nothing to say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.deaths import BAR0, BASE, RODATA, STACK, Death
from tests.unit.tables import NX, WRITE
from toolchain import diagnose, fault
from toolchain.types import Diagnosis, Unit

STORE = "c70700000000"  # mov dword ptr [rdi], 0
LOAD_RBX = "488b03"  # mov rax, [rbx]
FRAME = "554889e5"  # push rbp; mov rbp, rsp


def diagnosis(death: Death, rule: str, tree: Path | None = None) -> Diagnosis:
    report = fault.analyse(death.result(), death.symbols(), tree)
    assert report is not None
    found = {item.rule: item for item in report.diagnosis}
    assert rule in found, found.keys()
    return found[rule]


def rules(death: Death) -> set[str]:
    report = fault.analyse(death.result(), death.symbols())
    assert report is not None
    return {item.rule for item in report.diagnosis}


def bar_death() -> Death:
    """Unit -> (select, map_registers, set_up); set_up stores to BAR0, which nothing mapped."""
    death = Death(unit=FRAME, select="c3", map_registers="4889f8c3", set_up=FRAME + STORE)
    death.call("unit", "select", 4)
    death.call("unit", "map_registers", 9)
    death.call("unit", "set_up", 14)
    death.tables.map(BAR0 + 0x5000, 0x5000, WRITE)  # tables exist down to the PT
    death.raises(14, 2, BAR0, rip=death.at["set_up"] + 4, rdi=BAR0, rbp=STACK - 0x40, rsp=STACK - 0x40)
    death.push(STACK - 0x20, death.at["unit"] + 19)
    return death


def test_a_bar_that_nobody_mapped() -> None:
    found = diagnosis(bar_death(), "bar-unmapped")
    assert "'mov dword ptr [rdi], 0' (rdi = 0xfd000000)" in found.sentence
    assert "BAR0 of the display controller at 00:01.0" in found.sentence
    assert "PT entry 0" in found.sentence and "(empty)" in found.sentence
    assert found.suspects[0] == "map_registers"
    assert "map_registers, called before it, should have mapped it" in found.sentence
    assert "stores nothing to memory" in found.hint


def test_a_mapper_that_stores_is_not_said_to_store_nothing() -> None:
    death = bar_death()
    start = death.at["map_registers"] - BASE
    death.code = death.code[:start] + bytes.fromhex("488907c3").ljust(64, b"\x90") + death.code[start + 64 :]
    found = diagnosis(death, "bar-unmapped")
    assert found.suspects[0] == "map_registers" and "stores nothing" not in found.hint


def test_the_header_of_a_routine_can_say_that_it_maps(tmp_path: Path) -> None:
    death = bar_death()
    death.at["prepare"] = death.at.pop("map_registers")
    (tmp_path / "a.s").write_text("# prepare -- map the registers\n")
    assert diagnosis(death, "bar-unmapped", tmp_path).suspects[0] == "prepare"


def test_an_entry_at_the_wrong_index() -> None:
    death = bar_death()
    death.tables.map(BAR0 + 0x3000, BAR0, WRITE)
    found = diagnosis(death, "entry-at-wrong-index")
    assert "PT entry 3" in found.sentence and "uses entry 0" in found.sentence
    assert "20:12" in found.hint


def test_nx_before_nxe() -> None:
    death = Death(body=STORE, enable="0f30")  # wrmsr
    death.tables.map(0x4000_0000, 0x4000_0000, WRITE | NX)
    death.raises(14, 0xB, 0x4000_0000, efer=0x501, rdi=0x4000_0000)
    found = diagnosis(death, "nx-without-nxe")
    assert "PT entry" in found.sentence and found.suspects[0] == "enable"
    assert rules(death).isdisjoint({"entry-at-wrong-index", "not-mapped"})


def test_another_reserved_bit() -> None:
    death = Death(body=STORE)
    death.tables.map(0x4000_0000, 0x4000 | 1 << 45, WRITE)
    death.raises(14, 0xB, 0x4000_0000, rdi=0x4000_0000)
    assert "45" in diagnosis(death, "reserved-bit").sentence


def test_cr3_with_the_table_one_level_down() -> None:
    death = Death(start="0f22d8", after="90")  # mov cr3, rax
    pdpt = death.tables.entry(BASE, "PML4") & ~0xFFF
    death.raises(14, 0x10, death.at["start"] + 3, rip=death.at["start"] + 3, cr3=pdpt)
    found = diagnosis(death, "cr3-wrong-level")
    assert "CR3 holds the PDPT" in found.sentence and found.suspects[0] == "start"


def test_code_that_is_not_mapped_after_paging_is_switched_on() -> None:
    death = Death(start="0f22c0")  # mov cr0, rax
    death.tables.edit(BASE, "PD", 0)
    death.raises(14, 0x10, BASE + 3, rip=BASE + 3)
    assert "PD entry" in diagnosis(death, "paging-enable").sentence


@pytest.mark.parametrize(
    ("registers", "missing"),
    [
        ({"cr0": 0x8001_0011, "efer": 0, "cr4": 0x20}, "EFER.LME"),
        ({"cr0": 0x11, "efer": 0x100, "cr4": 0}, "CR4.PAE"),
    ],
)
def test_long_mode_that_did_not_begin(registers: dict[str, int], missing: str) -> None:
    death = Death(start="0f22c0")
    death.raises(6, None, rip=BASE + 3, **registers)
    death.registers["bits"] = 32
    assert missing in diagnosis(death, "not-in-long-mode").sentence


def test_the_guard_below_the_stack_and_who_calls_itself() -> None:
    death = Death(deep=FRAME, outer=FRAME)
    death.call("deep", "deep", 4)
    bottom = STACK - 0x1000
    death.raises(14, 2, bottom - 8, rip=death.at["deep"] + 4, rsp=bottom, rbp=bottom)
    assert death.block is not None
    death.block["trace"] = ",".join([hex(death.at["deep"] + 9)] * 5)
    found = diagnosis(death, "stack-guard")
    assert "deep calls itself" in found.sentence and found.suspects[0] == "deep"
    assert "not-mapped" not in rules(death)


def test_a_write_to_what_is_read_only() -> None:
    death = Death(body=STORE)
    death.raises(14, 3, RODATA, rdi=RODATA)
    found = diagnosis(death, "write-to-read-only")
    assert ".rodata" in found.sentence and "R/W clear" in found.sentence and "text" in found.sentence


def test_a_stack_in_a_read_only_page() -> None:
    death = Death(body="50")  # push rax
    death.tables.edit(STACK - 8, "PT", death.tables.entry(STACK - 8, "PT") & ~WRITE)
    death.raises(14, 3, STACK - 0x48)
    assert "CR0.WP" in diagnosis(death, "stack-read-only").sentence


def test_a_jump_into_data() -> None:
    death = Death(body="c3")
    death.raises(14, 0x11, RODATA, rip=RODATA)
    assert ".rodata" in diagnosis(death, "execute-no-execute").sentence
    assert "wild-jump" in rules(death)


def test_null_pointers() -> None:
    death = Death(body=STORE)
    death.raises(14, 2, 0x10, rdi=0x10)
    assert "null pointer" in diagnosis(death, "null-pointer").sentence
    death = Death(body="ffd0")  # call rax
    death.raises(14, 0x10, 0, rip=0)
    death.push(death.at["body"] + 2)
    found = diagnosis(death, "null-call")
    assert "body+0x2" in found.sentence


def test_user_pages_under_smap() -> None:
    death = Death(body=STORE)
    death.tables.map(0x4000_0000, 0x4000, WRITE | 4)
    death.raises(14, 3, 0x4000_0000, rdi=0x4000_0000, cr4=0x6A0 | 1 << 21)
    assert "SMAP" in diagnosis(death, "smap").sentence


def test_suspects_end_at_the_units_entry(tmp_path: Path) -> None:
    death = Death(body=STORE, entry=FRAME, dispatcher=FRAME)
    (tmp_path / "boot.toml").write_text('[[unit]]\nname = "pci"\nentry = "entry"\n')
    death.units = (Unit("pci", "start", 1, 1),)
    death.raises(14, 2, 0x10, rdi=0x10)
    assert death.block is not None
    death.block["trace"] = f"{death.at['entry'] + 5:#x},{death.at['dispatcher'] + 5:#x}"
    assert diagnosis(death, "null-pointer", tmp_path).suspects == ("body", "entry")
    assert diagnosis(death, "null-pointer").suspects == ("body", "entry", "dispatcher")
    death.block["trace"] = f"{death.at['dispatcher'] + 5:#x}"  # the stack was damaged
    assert "entry" in diagnosis(death, "null-pointer", tmp_path).suspects


def test_any_other_hole() -> None:
    death = Death(body=STORE)
    death.raises(14, 2, 0xFFFF_9000_0000_0000, rdi=0xFFFF_9000_0000_0000)
    assert "PML4 entry 288" in diagnosis(death, "not-mapped").sentence


def test_a_translation_that_came_too_late() -> None:
    death = Death(body=STORE)
    death.tables.map(0x4000_0000, 0x4000, WRITE)
    death.raises(14, 2, 0x4000_0000, rdi=0x4000_0000)
    assert "invlpg" in diagnosis(death, "stale-translation").hint


def test_a_pointer_that_is_not_canonical() -> None:
    death = Death(body=LOAD_RBX)
    death.raises(13, 0, rbx=0x1234_0000_0000_0000)
    found = diagnosis(death, "non-canonical")
    assert "rbx = 0x1234000000000000" in found.sentence
    assert "protection" not in rules(death)


def test_a_return_to_no_address() -> None:
    death = Death(body="c3")
    death.raises(13, 0)
    death.push(0x4142_4344_4546_4748)
    assert "0x4142434445464748" in diagnosis(death, "non-canonical-return").sentence


def test_sse_on_a_crooked_stack() -> None:
    death = Death(body="0f290424")  # movaps [rsp], xmm0
    death.raises(13, 0, rsp=STACK - 0x38)
    assert "aligned before every call" in diagnosis(death, "misaligned-sse").hint
    assert "protection" not in rules(death)


@pytest.mark.parametrize(
    ("vector", "cr0", "cr4", "word"),
    [(6, 0x8001_0037, 0x6A0, "EM"), (6, 0x8001_0033, 0x20, "OSFXSR"), (7, 0x8001_003B, 0x6A0, "TS")],
)
def test_sse_that_is_not_enabled(vector: int, cr0: int, cr4: int, word: str) -> None:
    death = Death(body="0f28c1")  # movaps xmm0, xmm1
    death.raises(vector, None, cr0=cr0, cr4=cr4)
    assert word in diagnosis(death, "sse-disabled").sentence


def test_undefined_instructions() -> None:
    death = Death(body="0f0b")
    assert "ud2" in diagnosis(death.raises(6), "ud2").sentence
    death = Death(body="06")
    assert "no instruction" in diagnosis(death.raises(6), "undefined-instruction").sentence


def test_a_division() -> None:
    death = Death(body="f7f1")  # div ecx
    assert "rdx = 0x7" in diagnosis(death.raises(0, None, rdx=7), "divide-error").sentence


def test_an_error_code_left_on_the_stack() -> None:
    death = Death(body="48cf", interrupted="90")  # iretq
    death.raises(13, 0)
    death.push(2, death.at["interrupted"], 8, 2, STACK, 16)
    assert "still on the stack" in diagnosis(death, "error-code-on-stack").sentence
    death.push(death.at["interrupted"], 0x9999, 2, STACK, 16, 0)
    assert "cs = 0x9999" in diagnosis(death, "bad-interrupt-frame").sentence


def test_selectors() -> None:
    death = Death(body="8ed8")  # mov ds, eax
    assert "beyond the GDT's limit" in diagnosis(death.raises(13, 0x68), "bad-selector").sentence
    death = Death(body="8ed8")
    death.tables.map(0x7000_0000, 0x7000, WRITE)
    death.tables.put(0x7000, bytes(24) + (0x00CF_1200_0000_FFFF).to_bytes(8, "little"))
    death.raises(11, 0x18, gdt_base=0x7000_0000)
    assert "not present" in diagnosis(death, "bad-selector").sentence


def test_control_registers_and_msrs() -> None:
    death = Death(body="0f22e0")  # mov cr4, rax
    assert "mov cr4, rax" in diagnosis(death.raises(13, 0), "control-register").sentence
    death = Death(body="0f30")
    death.raises(13, 0, rcx=0xC0000080, rax=5, rdx=1)
    assert "MSR 0xc0000080 with 0x100000005" in diagnosis(death, "msr").sentence


def test_what_no_rule_explains_is_still_said() -> None:
    death = Death(body="fa")  # cli
    assert "protection rules" in diagnosis(death.raises(13, 0), "protection").sentence


def test_a_stack_in_the_page_tables() -> None:
    death = Death(body=STORE)
    pt = death.tables.entry(STACK - 0x1000, "PD") & ~0xFFF
    death.tables.map(STACK - 0x1000, pt, WRITE | NX)
    death.raises(14, 2, 0x4000_0000, rdi=0x4000_0000)
    assert f"{pt:#x}" in diagnosis(death, "stack-in-page-tables").sentence


def log(*records: tuple[int, int, int, int | None], end: str = "Triple fault\n", **registers: int) -> str:
    """QEMU's log of exceptions (vector, error, old, cr2) at BASE; registers go into each dump."""
    text = ""
    shown = {"RIP": BASE, "RSP": STACK - 0x40, "RBP": STACK - 0x20, "RDI": 0xFFFF_9000_0000_0000} | registers
    for vector, error, old, cr2 in records:
        tail = f"CR2={cr2:016x}" if cr2 is not None else "env->regs[R_EAX]=0"
        text += f"check_exception old: {old:#x} new {vector:#x}\n"
        text += f"     0: v={vector:02x} e={error:04x} i=0 cpl=0 IP=0008:{shown['RIP']:016x} pc={shown['RIP']:016x} "
        text += f"SP=0010:{shown['RSP']:016x} {tail}\n"
        text += " ".join(f"{name}={value:016x}" for name, value in shown.items()) + "\n"
        text += "CS =0008 0000000000000000 ffffffff 00af9a00 DPL=0 CS64 [-R-]\n"
        text += f"IDT=     {registers.get('IDTB', 0):016x} {registers.get('IDTL', 0):08x}\n"
        text += f"CR0=80010033 CR2={cr2 or 0:016x} CR3=0000000000200000 CR4=000006a0\nEFER=0000000000000d01\n"
    return text + end


NONE = 0xFFFF_FFFF


def test_no_idt() -> None:
    death = Death(body=STORE)
    death.log = log((14, 2, NONE, 0xFFFF_9000_0000_0000), (8, 0, 14, None))
    found = diagnosis(death, "no-idt")
    assert "no IDT is loaded" in found.sentence
    assert "not-mapped" in rules(death)  # the fault itself is explained all the same


def test_an_idt_gate_that_is_not_there() -> None:
    death = Death(body="0f0b", load="0f0118")  # lidt [rax]
    death.tables.map(0x7000_0000, 0x7000, WRITE)
    death.tables.put(0x7000, bytes(64))
    death.log = log((6, 0, NONE, None), (11, 0x62, NONE, None), IDTB=0x7000_0000, IDTL=0xFFF)
    death.registers["idt_base"] = 0x7000_0000
    found = diagnosis(death, "idt-gate")
    assert "#UD" in found.sentence and "empty" in found.sentence and found.suspects == ("load",)


@pytest.mark.parametrize(("ist", "words"), [(0, "no IST stack"), (1, "uses IST1")])
def test_no_stack_for_the_frame(ist: int, words: str) -> None:
    death = Death(body="50")
    death.tables.map(0x7000_0000, 0x7000, WRITE)
    death.tables.put(0x7000, bytes(8 * 16) + (0x8E00_0008_0000 | ist << 32).to_bytes(8, "little"))
    bottom = STACK - 0x1000
    death.log = log((14, 2, NONE, bottom - 8), (8, 0, 14, None), IDTB=0x7000_0000, IDTL=0xFFF, RSP=bottom)
    assert words in diagnosis(death, "no-stack-for-frame").sentence


def test_a_handler_that_died() -> None:
    death = Death(body=STORE, handler=LOAD_RBX)
    death.log = log((14, 2, NONE, 0xFFFF_9000_0000_0000), end="")
    death.log += log((13, 0, NONE, None), RIP=death.at["handler"], RSP=STACK - 0xA0)
    found = diagnosis(death, "handler-died")
    assert "#GP at handler" in found.sentence and found.suspects == ("handler",)


def test_a_report_that_was_cut() -> None:
    death = Death(body=STORE)
    death.raises(14, 2, 0x10, rdi=0x10)
    assert death.block is not None
    del death.block["trace"]
    assert "cut after 'stack'" in diagnosis(death, "report-cut").sentence


def hang(code: str, **registers: int) -> Death:
    death = Death(body=code, outer=FRAME)
    death.outcome = "timeout"
    death.units = (Unit("memory", "ok", 2, 1), Unit("pci", "start", 3, 3))
    death.registers.update(registers)
    return death


def test_hangs() -> None:
    spin = diagnosis(hang("f390ebfc"), "hang")  # pause; jmp back
    assert (
        "Boot unit pci started" in spin.sentence
        and "spins" in spin.sentence
        and "bound every wait" in spin.hint
    )
    halted = hang("faf490", rip=BASE + 2)  # cli; hlt
    assert "nothing can wake it" in diagnosis(halted, "hang").sentence
    waiting = hang("fbf490", rip=BASE + 2, rflags=0x202)
    assert "interrupt that does not come" in diagnosis(waiting, "hang").sentence


def test_silence() -> None:
    death = hang("ebfe")
    death.outcome, death.units = "silent", ()
    assert "wrote nothing" in diagnosis(death, "silent").sentence
    death.registers["rip"] = 0xFFFF0
    assert "never entered" in diagnosis(death, "silent-not-entered").sentence
    death.serial = "error: no multiboot header found.\r\n"
    found = diagnosis(death, "loader-refused")
    assert "no multiboot header found" in found.sentence and "silent-not-entered" not in rules(death)


def test_panic_reset_shutdown() -> None:
    death = hang("ebfe")
    death.outcome, death.panic = "panic", ("unit-failed", "pci")
    death.units = (Unit("pci", "fail", 3, 3, {"error": "5"}),)
    assert "error=5" in diagnosis(death, "panic").sentence
    death = hang("ebfe")
    death.outcome = "reset"
    assert "0xcf9" in diagnosis(death, "reset").hint
    death.outcome = "shutdown"
    assert "without PXREADY" in diagnosis(death, "shutdown").sentence


def test_a_fault_that_was_not_reported() -> None:
    death = Death(body="90")
    assert "no report" in diagnosis(death, "fault-unreported").sentence


def test_an_exception_storm_and_a_handler_that_hangs() -> None:
    death = hang(STORE, rip=BASE)
    death.log = log((14, 2, NONE, 0xFFFF_9000_0000_0000), end="") * 1200
    assert "repeats for ever" in diagnosis(death, "exception-storm").sentence
    death = hang(STORE, rsp=STACK - 0x100)
    death.registers["rip"] = death.at["outer"]
    death.log = log((14, 2, NONE, 0xFFFF_9000_0000_0000), end="")
    found = diagnosis(death, "stuck-in-handler")
    assert "outer" in found.sentence


def test_every_rule_is_tried_here() -> None:
    """A rule without a test would never be missed."""
    source = Path(__file__).read_text()
    for rule in diagnose.RULES:
        module = Path(__import__(rule.__module__, fromlist=["x"]).__file__ or "").read_text()
        body = module.split(f"def {rule.__name__}(")[1].split("\ndef ")[0]
        names = [piece.split('"')[0] for piece in body.split('Diagnosis(\n        "')[1:]]
        for name in names:
            assert f'"{name}"' in source, name


def test_nothing_at_all_is_known() -> None:
    """No snapshot, no symbols, no log: the report still says what the outcome says."""
    death = Death(body="90")
    bare = death.result()
    for outcome in ("fault", "panic", "reset", "shutdown", "timeout", "silent"):
        report = fault.analyse(type(bare)(outcome, 0.0, None, "", (), {}, None, None, "", None, (), None))
        assert report is not None and report.cause
