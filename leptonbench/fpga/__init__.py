"""An int8 accelerator in SystemVerilog, its simulator, and what turns an ONNX model into a program for it."""
