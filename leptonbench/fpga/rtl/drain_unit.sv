// The drain unit: reads accumulator words, turns them into bytes, and writes those into the output buffer.
module drain_unit #(
    parameter int ROWS = 16,
    parameter int COLS = 16
) (
    input bit clk,
    input bit reset,
    input bit head_valid,
    input bit head_ready,
    input isa_pkg::drain_t head,
    output bit take,
    // parameter memory
    output bit param_read,
    output bit [15:0] param_address,
    input bit [ROWS*8-1:0] param_data,  // a cycle later
    // accumulator
    output bit acc_read,
    output bit acc_half,
    output bit [15:0] acc_address,
    input bit acc_granted,
    input bit [COLS*32-1:0] acc_word,   // a cycle later
    // table
    output bit [COLS*8-1:0] index,
    output bit lookup,
    input bit [COLS*8-1:0] entry,       // a cycle later
    input bit table_busy,
    // output buffer
    output bit write,
    output bit [15:0] write_address,
    output bit [COLS*8-1:0] write_data,
    output bit give,
    output bit [3:0] given,
    output bit idle
);
  localparam int SLICES = COLS / ROWS;
  localparam int PARAMS = 8 * SLICES;

  isa_pkg::drain_t drain;
  bit [COLS*64-1:0] params;  // biases, then scales
  bit [7:0] asked, got;      // granules of parameters
  bit reading_params, param_coming, running, word_coming, lanes_valid, found;
  bit [15:0] left, next_write, writes_left;
  bit [COLS*8-1:0] lanes_bytes, plain;

  drain_lanes #(
      .COLS(COLS)
  ) lanes (
      .clk,
      .reset,
      .mode(drain.mode),
      .zero(drain.zero),
      .low(drain.low),
      .high(drain.high),
      .scale_a(drain.scale_a),
      .scale_b(drain.scale_b),
      .fixed(drain.fixed),
      .biases(params[COLS*32-1:0]),
      .scales(params[COLS*64-1:COLS*32]),
      .in_valid(word_coming),
      .word(acc_word),
      .out_valid(lanes_valid),
      .bytes(lanes_bytes)
  );

  always_comb begin
    idle = !running && !reading_params && writes_left == 0;
    take = head_valid && head_ready && idle && !(head.lookup && table_busy);
    param_read = reading_params && 32'(asked) < PARAMS;
    param_address = drain.params + 16'(asked);
    acc_read = running;
    acc_half = drain.half;
    acc_address = drain.acc;
    lookup = lanes_valid;
    index = lanes_bytes;
    write = found;  // a stage after the lanes, with the table's entry or without
    write_address = next_write;
    write_data = drain.lookup ? entry : plain;
    give = found && writes_left == 1;
    given = drain.give;
  end

  always_ff @(posedge clk) begin
    param_coming <= param_read;
    if (param_read) asked <= asked + 8'd1;
    if (param_coming) begin
      params <= {param_data, params[COLS*64-1:ROWS*8]};
      got <= got + 8'd1;
      if (32'(got) == PARAMS - 1) begin
        reading_params <= 0;
        running <= 1;
      end
    end
    word_coming <= acc_granted;
    if (acc_granted) begin
      drain.acc <= drain.acc + 16'd1;
      left <= left - 16'd1;
      if (left == 1) running <= 0;
    end
    if (lanes_valid) plain <= lanes_bytes;
    found <= lanes_valid;
    if (found) begin
      next_write <= next_write + 16'd1;
      writes_left <= writes_left - 16'd1;
    end
    if (take) begin
      drain <= head;
      left <= head.count;
      next_write <= head.dst;
      writes_left <= head.count;
      asked <= 0;
      got <= 0;
      reading_params <= head.mode != isa_pkg::DRAIN_ADD;
      running <= head.mode == isa_pkg::DRAIN_ADD;
    end
    if (reset) begin
      {reading_params, running, word_coming, param_coming, found} <= 0;
      writes_left <= 0;
    end
  end
endmodule
