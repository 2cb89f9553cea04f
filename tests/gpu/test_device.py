"""The device layer: adapters, buffers, kernels, bounds, errors, a lost device."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from toolchain.errors import InputError, ToolError
from toolchain.gpu import adapter, readback, unchecked, wgsl
from toolchain.gpu.device import LOOP_MAX, RECORDED_MAX, WORK_MAX, Device, DeviceLost
from toolchain.gpu.kernels import Kernel

DOUBLE = """// out = in * 2 + ADDED
// Constants:
//   ADDED: u32 = 1      what is added
@group(0) @binding(0) var<storage, read_write> a: array<u32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) at: vec3u) {
  a[at.x] = a[at.x] * 2u + ADDED;
}
"""
COUNT = """// each invocation counts to `limit`
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@group(0) @binding(1) var<uniform> limit: vec4u;
@compute @workgroup_size(1) fn main() {
  var n = 0u;
  for (var i = 0u; i < limit.x; i++) { n = n * 3u + i; }
  out[0] = n;
}
"""
FOREIGN = "@compute @workgroup_size(1) fn main() {}"


def doubler(device: Device, added: int = 1, *, checked: bool = True) -> Kernel:
    return device.kernel(wgsl.compose(DOUBLE, "double.wgsl", {"ADDED": added}), checked=checked)


def u32(data: memoryview) -> list[int]:
    return [int(n) for n in np.frombuffer(data, np.uint32)]


@pytest.mark.parametrize("checked", [True, False])
def test_dispatches_see_each_other_s_writes_in_order(device: Device, checked: bool) -> None:
    buffer = device.upload(np.arange(64, dtype=np.uint32))
    kernel = doubler(device, 3, checked=checked)
    for _ in range(2):
        device.dispatch(kernel, [buffer], [1], iterations=0)
    assert u32(device.download(buffer)) == [n * 4 + 9 for n in range(64)]
    device.write(buffer, np.full(2, 5, np.uint32), 8)
    device.dispatch(kernel, [buffer], [1], iterations=0)
    assert u32(device.download(buffer, 12, 4)) == [29, 13, 13]


def test_more_dispatches_than_one_submission_takes(device: Device) -> None:
    buffer = device.buffer(256)
    for _ in range(RECORDED_MAX + 7):
        device.dispatch(doubler(device, 0), [buffer], [1], iterations=0)
    device.write(buffer, np.ones(1, np.uint32))
    assert u32(device.download(buffer, 4)) == [1]


def test_copies_and_odd_sizes(device: Device) -> None:
    source, target = device.upload(b"abcdefg"), device.buffer(5)
    assert (source.size, target.size) == (8, 8)
    device.copy(source, target, 4, 4, 0)
    assert bytes(device.download(target)) == b"efg\0\0\0\0\0"
    assert bytes(device.download(source, 3)) == b"abc"
    assert bytes(device.download(source, 0)) == b""
    assert bytes(device.download(device.upload(np.zeros((0, 3), np.uint32)))) == bytes(4)


def test_the_same_code_is_compiled_once_and_the_same_parameters_are_one_buffer(device: Device) -> None:
    assert doubler(device) is doubler(device)
    assert doubler(device) is not doubler(device, 2)
    assert doubler(device) is not doubler(device, checked=False)
    assert device.uniform(b"1234") is device.uniform(b"1234")


def test_a_buffer_that_is_too_large_is_refused(device: Device) -> None:
    most = device.limits["max-storage-buffer-binding-size"]
    with pytest.raises(InputError, match=r"binds \d+ at most"):
        device.buffer(most + 1, "weights")


@pytest.mark.parametrize(("size", "offset"), [(8, 252), (4, -4), (4, 2), (260, 0)])
def test_accesses_outside_a_buffer_are_refused(device: Device, size: int, offset: int) -> None:
    buffer = device.buffer(256)
    with pytest.raises(InputError):
        device.write(buffer, bytes(size), offset)
    with pytest.raises(InputError):
        device.download(buffer, size, offset)


def count(device: Device, limit: int) -> int:
    out = device.buffer(4)
    kernel = device.kernel(wgsl.compose(COUNT, "count.wgsl"))
    device.dispatch(
        kernel, [out, device.uniform(np.array([limit, 0, 0, 0], np.uint32).tobytes())], [1], iterations=limit
    )
    return u32(device.download(out))[0]


def test_loops_are_whole_up_to_the_bound_and_refused_above_it(device: Device) -> None:
    expected = 0
    for i in range(LOOP_MAX):
        expected = (expected * 3 + i) % 2**32
    assert count(device, LOOP_MAX) == expected
    with pytest.raises(InputError, match=f"{LOOP_MAX + 1} iterations"):
        count(device, LOOP_MAX + 1)


def test_too_many_workgroups_are_refused_and_none_is_no_work(device: Device) -> None:
    buffer = device.upload(np.ones(64, np.uint32))
    most = device.limits["max-compute-workgroups-per-dimension"]
    with pytest.raises(InputError, match="workgroups"):
        device.dispatch(doubler(device), [buffer], [1, most + 1], iterations=0)
    device.dispatch(doubler(device), [buffer], [0], iterations=0)
    assert u32(device.download(buffer, 4)) == [1]


@pytest.mark.parametrize("buffers", [0, 2])
def test_buffers_that_do_not_fit_the_bindings_are_refused_and_the_device_goes_on(
    device: Device, buffers: int
) -> None:
    with pytest.raises(InputError, match=r"double\.wgsl, main"):
        device.dispatch(doubler(device), [device.buffer(256)] * buffers, [1], iterations=0)
    buffer = device.upload(np.ones(64, np.uint32))
    device.dispatch(doubler(device), [buffer], [1], iterations=0)
    assert u32(device.download(buffer, 4)) == [3]


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize(
    ("line", "column", "said"),
    [
        ("fn g() { let x = nowhere; }", 18, "no definition in scope for identifier: `nowhere`"),
        ("fn g() { a[0] = 1.5; }", 10, "automatic conversions"),
        ("@group(0) @binding(1) var<storage> c: array<u32>; fn g() { c[0] = 2u; }", 51, "doesn't relate to"),
    ],
)
def test_a_shader_in_error_is_an_input_error_with_its_place(
    device: Device, line: str, column: int, said: str, checked: bool
) -> None:
    with pytest.raises(InputError, match=f"column {column}:") as caught:
        device.kernel(wgsl.compose(DOUBLE + line, "bad.wgsl", {"ADDED": 2}), checked=checked)
    first, excerpt, caret = caught.value.lines()[0].splitlines()
    assert first.startswith("bad.wgsl:8: error: ") and said in first
    assert excerpt.strip() == line and caret.index("^") == column + 3


def test_an_error_leaves_what_is_recorded(device: Device) -> None:
    buffer = device.upload(np.ones(64, np.uint32))
    device.dispatch(doubler(device), [buffer], [1], iterations=0)
    with pytest.raises(InputError):
        device.kernel(wgsl.compose("fn broken(", "broken.wgsl"))
    with pytest.raises(InputError):
        device.dispatch(doubler(device), [], [1], iterations=0)
    with pytest.raises(InputError):
        device.dispatch(doubler(device), [buffer], [1], iterations=LOOP_MAX + 1)
    assert u32(device.download(buffer, 4)) == [3]


def test_much_work_is_submitted_in_parts(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    submitted = []
    submit = device._queue.submit

    def counting(commands: object) -> None:
        submitted.append(commands)
        submit(commands)

    monkeypatch.setattr(device._queue, "submit", counting)
    buffer = device.upload(np.zeros(64, np.uint32))
    for work in (WORK_MAX - 1, 1, 1, WORK_MAX, 5 * WORK_MAX):
        device.dispatch(doubler(device), [buffer], [1], iterations=0, work=work)
    assert len(submitted) == 3
    assert u32(device.download(buffer, 4)) == [31]


def test_an_error_in_a_part_names_the_part(device: Device, tmp_path: Path) -> None:
    (tmp_path / "part.wgsl").write_text("// a part\nfn part() -> u32 { return 1; }\nfn bad() { x = 1; }\n")
    (tmp_path / "whole.wgsl").write_text(f"// Parts: part.wgsl\n{FOREIGN}\n")
    with pytest.raises(InputError, match=rf"{tmp_path}/part\.wgsl:3: error"):
        device.kernel(wgsl.load("whole.wgsl", folder=tmp_path))


def test_a_missing_entry_is_named(device: Device) -> None:
    with pytest.raises(InputError, match="nothere"):
        device.kernel(wgsl.compose(DOUBLE, "double.wgsl"), "nothere")


def test_constants_are_put_in_and_unknown_ones_refused(tmp_path: Path) -> None:
    text = (
        "// Constants:\n//   A: u32 = 4   x\n//   B: bool = true\n//   T: type = f32\n//   C: f32 = 0.5\n"
        + FOREIGN
    )
    module = wgsl.compose(text, "x.wgsl", {"A": 7, "B": False, "C": 2.0})
    assert module.code.splitlines()[-4:] == [
        "const A: u32 = u32(7);", "const B: bool = false;", "alias T = f32;",
        "const C: f32 = f32(2.0);",
    ]  # fmt: skip
    assert wgsl.compose(text, "x.wgsl", {"T": "f16"}).code.startswith("enable f16; // Constants:")
    with pytest.raises(InputError, match="no constant is called 'D'"):
        wgsl.compose(text, "x.wgsl", {"D": 1})
    with pytest.raises(InputError, match="nowhere"):
        wgsl.load("nowhere.wgsl")
    (tmp_path / "bytes.wgsl").write_bytes(b"// \xff")
    with pytest.raises(InputError, match="no UTF-8"):
        wgsl.load("bytes.wgsl", folder=tmp_path)


def test_the_adapter_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [a.name for a in adapter.adapters()]
    assert adapter.choose(names[-1].upper()).name == names[-1]
    monkeypatch.setenv(adapter.VARIABLE, names[-1])
    assert adapter.choose().name == names[-1]
    monkeypatch.setenv(adapter.VARIABLE, "no such thing")
    with pytest.raises(InputError, match="PXOS_GPU_ADAPTER: no adapter is called 'no such thing'"):
        adapter.choose()


def test_a_real_gpu_is_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    class Handle:
        features: tuple[str, ...] = ()
        limits: dict[str, int] = {}  # noqa: RUF012

        def __init__(self, kind: str) -> None:
            self.info = {"device": kind, "description": "", "backend_type": "Vulkan", "adapter_type": kind}

    import wgpu

    kinds = ["CPU", "Weird", "IntegratedGPU", "DiscreteGPU"]
    monkeypatch.setattr(wgpu.gpu, "enumerate_adapters_sync", lambda: [Handle(kind) for kind in kinds])
    assert [a.kind for a in adapter.adapters()] == ["DiscreteGPU", "IntegratedGPU", "CPU", "Weird"]
    monkeypatch.setattr(wgpu.gpu, "enumerate_adapters_sync", list)
    with pytest.raises(ToolError, match="mesa-vulkan-drivers"):
        adapter.choose()


def test_unchecked_modules_are_available_in_the_locked_wgpu() -> None:
    assert unchecked.available()


def test_a_lost_device_says_so_at_once_and_ever_after() -> None:
    device = Device()
    buffer = device.upload(b"1234")
    device.handle.destroy()
    for _ in range(2):
        with pytest.raises(DeviceLost, match="open it again"):
            device.download(buffer)
    assert device.lost
    device.close()


def test_nothing_is_said_on_stderr_and_wgpu_is_not_imported_early() -> None:
    code = (
        "import sys\n"
        "from toolchain.gpu import adapter, device, wgsl\n"
        "assert 'wgpu' not in sys.modules and 'numpy' not in sys.modules\n"
        "with device.Device() as opened: opened.upload(b'1234')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_both_ways_of_reading_back_give_the_same(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.arange(5000, dtype=np.uint32)
    buffer = device.upload(data)
    assert device._read is not readback._mapped, "this wgpu is laid out otherwise"
    direct = bytes(device.download(buffer))
    monkeypatch.setattr(device, "_read", readback._mapped)
    assert bytes(device.download(buffer)) == direct == data.tobytes()


def test_a_wgpu_that_is_laid_out_otherwise_reads_by_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    from wgpu.backends.wgpu_native import _api

    monkeypatch.setattr(_api, "new_struct", None)
    assert readback.reader(None) is readback._mapped


def test_a_map_that_fails_is_an_error(device: Device) -> None:
    buffer = device.buffer(64)  # not made to be mapped
    with pytest.raises((RuntimeError, InputError)), device.guard("reading"):
        device._read(buffer.handle, 64)
    assert bytes(device.download(buffer)) == bytes(64)
