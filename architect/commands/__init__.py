"""The architect's subcommands of ``pxos``: one module each, see ``toolchain.command`` for their shape."""
