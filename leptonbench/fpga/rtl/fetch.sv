// Reads the program and hands each instruction to its unit's queue, in program order.
module fetch #(
    parameter int BUS_BYTES = 64
) (
    input bit clk,
    input bit reset,
    input bit start,
    input bit [31:0] program_address,
    output bit request,  // a burst of up to 8 instructions, inside 512 aligned bytes
    output bit [31:0] request_address,
    output bit [3:0] request_instructions,
    input bit granted,
    input bit beat,      // data of such a burst, in order
    input bit [BUS_BYTES*8-1:0] beat_data,
    output bit [511:0] instruction,
    output bit [4:1] push,  // by operation: LOAD, EXEC, DRAIN, STORE
    input bit [4:1] full,
    output bit halted,
    output bit fault,    // an operation that does not exist; sticky
    output bit idle
);
  localparam int PARTS = 64 / BUS_BYTES;
  localparam int DEPTH = 16;
  bit [511:0] entries[DEPTH];
  bit [3:0] first;
  bit [4:0] count, coming;  // instructions here, and asked for
  bit [511:0] assembly;
  bit [2:0] part;
  bit running;
  bit [31:0] address;
  bit [3:0] op;
  bit arrived, pop, waiting, exists;

  always_comb begin
    instruction = entries[first];
    op = instruction[3:0];
    waiting = count != 0 && !halted;
    exists = op <= isa_pkg::OP_STORE;
    push = 0;
    for (int u = 1; u <= 4; u++) push[u] = waiting && 32'(op) == u && !full[u];
    pop = push != 0 || (waiting && (op == isa_pkg::OP_HALT || !exists));
    arrived = beat && 32'(part) == PARTS - 1;
    request = running && count + coming <= 5'(DEPTH - 8);
    request_address = address;
    request_instructions = 4'd8 - {1'b0, address[8:6]};
    idle = !running && coming == 0;
  end
  always_ff @(posedge clk) begin
    if (beat) begin
      assembly <= (assembly >> (8 * BUS_BYTES)) | (512'(beat_data) << (512 - 8 * BUS_BYTES));
      part <= arrived ? 3'd0 : part + 3'd1;
      if (arrived)
        entries[first+count[3:0]] <= (assembly >> (8 * BUS_BYTES)) | (512'(beat_data) << (512 - 8 * BUS_BYTES));
    end
    if (granted) address <= address + {22'd0, request_instructions, 6'd0};
    coming <= coming + (granted ? 5'(request_instructions) : 5'd0) - 5'(arrived);
    count <= count + 5'(arrived) - 5'(pop);
    if (pop) first <= first + 4'd1;
    if (waiting && (op == isa_pkg::OP_HALT || !exists)) begin
      halted <= 1;
      running <= 0;
      fault <= !exists;
    end
    if (reset) begin
      {first, count, coming, part} <= 0;
      {running, halted, fault} <= 0;
    end
    if (start) begin
      running <= 1;
      address <= program_address;
    end
  end
endmodule
