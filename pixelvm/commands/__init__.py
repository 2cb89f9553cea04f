"""The subcommands of ``pxos`` that belong to the Pixel VM."""
