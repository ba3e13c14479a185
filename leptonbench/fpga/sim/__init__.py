"""The core's simulator: built from the RTL with Verilator, one persistent process a core."""
