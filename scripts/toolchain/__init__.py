"""The pxOS toolchain: from assembly source to a booted machine and a fault report.

Stages, each a module that can be used alone: ``preprocess`` -> ``encode`` -> ``assemble`` -> ``link`` ->
``elf``/``dwarf`` -> ``iso`` -> ``qemu`` -> ``fault``. Nothing is imported here, so that importing one stage
costs only that stage.
"""
