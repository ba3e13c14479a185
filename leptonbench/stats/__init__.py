"""Pure statistics: no clock, no file, no global. Numbers in, numbers with their doubt out."""
