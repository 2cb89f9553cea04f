"""The Pixel VM: programs that are pictures."""
