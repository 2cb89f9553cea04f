"""The x86-64 engine of the Pixel VM: programs translated to machine code by the toolchain's encoder."""
