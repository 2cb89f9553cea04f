"""The .pxl language: functions, locals, loops and arrays, compiled to Pixel VM programs."""
