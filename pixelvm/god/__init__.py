"""God Pixel: one pixel that stands for a tile, by seed, by address or losslessly."""
