"""The ELF64 writer, read back by pyelftools and by the system itself."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

from elftools.elf.elffile import ELFFile

from tests.unit.images import BSS, DATA, NOTE, TEXT, program
from toolchain import elf


def read(data: bytes) -> ELFFile:
    return ELFFile(io.BytesIO(data))


def test_program_headers_carry_rights_and_physical_addresses() -> None:
    image = program()
    data = elf.write(image)
    loads = [s.header for s in read(data).iter_segments() if s["p_type"] == "PT_LOAD"]
    assert [(h.p_vaddr, h.p_paddr, h.p_flags, h.p_memsz) for h in loads] == [
        (TEXT, TEXT, 5, image.sections[0].size),
        (NOTE, 0x802000, 4, 20),
        (DATA, 0x803000, 6, 8),
        (BSS, 0x804000, 6, 0x2000),
    ]
    assert [h.p_filesz for h in loads] == [image.sections[0].size, 20, 8, 0]
    for header in loads:
        assert header.p_offset % elf.PAGE == header.p_vaddr % elf.PAGE
    assert loads[0].p_offset == elf.PAGE
    for header, section in zip(loads, image.sections, strict=False):
        assert data[header.p_offset : header.p_offset + header.p_filesz] == section.data


def test_pvh_note_is_found_by_its_program_header() -> None:
    (note,) = [s for s in read(elf.write(program())).iter_segments() if s["p_type"] == "PT_NOTE"]
    assert note["p_align"] == 4
    (entry,) = note.iter_notes()
    assert (entry["n_name"], entry["n_type"], entry["n_descsz"]) == ("Xen", 18, 4)
    assert note["p_paddr"] == 0x802000


def test_symbols_with_kind_size_binding_and_file() -> None:
    table = read(elf.write(program())).get_section_by_name(".symtab")
    entries = list(table.iter_symbols())
    found = {
        s.name: (s["st_value"], s["st_size"], s["st_info"].type, s["st_info"].bind) for s in entries if s.name
    }
    assert found["start"] == (TEXT, 0, "STT_NOTYPE", "STB_GLOBAL")
    assert found["leaf"][1:] == (11, "STT_FUNC", "STB_LOCAL")
    assert found["buffer"] == (BSS, 0x2000, "STT_OBJECT", "STB_GLOBAL")
    assert found["sub/sub.s"][2] == "STT_FILE"
    binds = [s["st_info"].bind for s in entries]
    assert binds == sorted(binds, key=["STB_LOCAL", "STB_GLOBAL"].index)
    assert table["sh_info"] == binds.index("STB_GLOBAL")
    (port,) = table.get_symbol_by_name("PORT")
    assert (port["st_shndx"], port["st_value"]) == ("SHN_ABS", 0x3F8)


def test_an_empty_section_has_a_header_and_no_segment() -> None:
    found = read(elf.write(program()))
    section = found.get_section_by_name(".empty")
    assert (section["sh_addr"], section["sh_size"]) == (BSS + 0x2000, 0)
    assert found.num_segments() == 5


def test_same_image_same_bytes_and_debug_is_apart() -> None:
    full, bare = elf.write(program()), elf.write(program(), debug=False)
    assert elf.write(program()) == full
    assert read(bare).get_section_by_name(".debug_line") is None
    loaded = max(s["p_offset"] + s["p_filesz"] for s in read(full).iter_segments())
    assert bare[elf.PAGE : loaded] == full[elf.PAGE : loaded]


def test_many_sections_leave_room_for_their_headers() -> None:
    image = program()
    more = tuple(
        image.sections[2]._replace(
            name=f".data{i}", address=0x500000 + i * 0x1000, physical=0x900000 + i * 0x1000
        )
        for i in range(100)
    )
    data = elf.write(image._replace(sections=image.sections + more))
    loads = [s for s in read(data).iter_segments() if s["p_type"] == "PT_LOAD"]
    assert len(loads) == 104
    assert loads[0]["p_offset"] == 2 * elf.PAGE
    assert all(s.data() == image.sections[2].data for s in loads[4:])


def test_linux_loads_and_runs_it(tmp_path: Path) -> None:
    path = tmp_path / "a.elf"
    path.write_bytes(elf.write(program()))
    path.chmod(0o755)
    assert subprocess.run([path], timeout=10).returncode == 0


def test_binutils_accept_it_without_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "a.elf"
    path.write_bytes(elf.write(program()))
    result = subprocess.run(["readelf", "-aw", path], capture_output=True, text=True, timeout=20)
    assert (result.returncode, result.stderr) == (0, "")


def test_symbols_are_those_of_the_image_that_is_written() -> None:
    one = program()
    other = one._replace(symbols=tuple(s._replace(size=s.size + 1) for s in one.symbols))
    fewer = one._replace(symbols=one.symbols[1:])
    files = [elf.write(image) for image in (one, other, fewer)]
    assert len(set(files)) == len(files)
    assert [elf.write(image) for image in (one, other, fewer, one)] == [*files, files[0]]
    homes = tuple(s._replace(section=s.section and s.section + "x") for s in one.symbols)
    named = tuple(s._replace(name=s.name + "x") for s in one.sections)
    renamed = elf.write(one._replace(sections=named, symbols=homes))
    assert len(_symbols(renamed)) == len(_symbols(files[0])) > len(_symbols(files[2]))


def _symbols(data: bytes) -> list[object]:
    return list(ELFFile(io.BytesIO(data)).get_section_by_name(".symtab").iter_symbols())
