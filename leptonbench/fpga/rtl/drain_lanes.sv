// COLS lanes that turn accumulator words into bytes, a word a cycle: five stages.
//
// REQUANT, MUL: integer, float32, product, rounded product, byte. ADD: addends of the inner fma, its result, addends of the
// outer one, its result, byte. Nothing moves in a stage without a word.
module drain_lanes #(
    parameter int COLS = 16
) (
    input bit clk,
    input bit reset,
    input bit [1:0] mode,
    input bit signed [15:0] zero,
    input bit signed [15:0] low,
    input bit signed [15:0] high,
    input bit [31:0] scale_a,
    input bit [31:0] scale_b,
    input bit [31:0] fixed,
    input bit [COLS*32-1:0] biases,
    input bit [COLS*32-1:0] scales,
    input bit in_valid,
    input bit [COLS*32-1:0] word,
    output bit out_valid,  // five cycles later
    output bit [COLS*8-1:0] bytes,
    output bit busy
);
  bit [5:1] valid;  // stage s holds a word
  int sum[COLS];
  float_pkg::number_t value[COLS], inner[COLS], result[COLS];
  float_pkg::exact_t product[COLS];
  float_pkg::addends_t inner_addends[COLS], outer_addends[COLS];
  bit signed [15:0] a_1[COLS], a_2[COLS];

  always_ff @(posedge clk) begin
    valid <= reset ? 5'd0 : {valid[4:1], in_valid};
    if (valid[4])
      for (int c = 0; c < COLS; c++) begin
        bit signed [17:0] q;
        q = 18'(float_pkg::to_int(result[c])) + 18'(zero);
        bytes[8*c+:8] <= q < 18'(low) ? low[7:0] : q > 18'(high) ? high[7:0] : q[7:0];
      end
    if (mode == isa_pkg::DRAIN_ADD) begin
      if (valid[3]) for (int c = 0; c < COLS; c++) result[c] = float_pkg::round(float_pkg::add(outer_addends[c]));
      if (valid[2])
        for (int c = 0; c < COLS; c++)
          outer_addends[c] = float_pkg::align(a_2[c], float_pkg::unpack(scale_a), inner[c]);
      if (valid[1])
        for (int c = 0; c < COLS; c++) begin
          inner[c] = float_pkg::round(float_pkg::add(inner_addends[c]));
          a_2[c] = a_1[c];
        end
      if (in_valid)
        for (int c = 0; c < COLS; c++) begin
          inner_addends[c] = float_pkg::align(
              word[32*c+16+:16], float_pkg::unpack(scale_b), float_pkg::unpack(fixed));
          a_1[c] = word[32*c+:16];
        end
    end else begin
      if (valid[3]) for (int c = 0; c < COLS; c++) result[c] = float_pkg::round(product[c]);
      if (valid[2])
        for (int c = 0; c < COLS; c++)
          product[c] = float_pkg::multiply(value[c], float_pkg::unpack(scales[32*c+:32]));
      if (valid[1]) for (int c = 0; c < COLS; c++) value[c] = float_pkg::round(float_pkg::of_int(sum[c]));
      if (in_valid)
        for (int c = 0; c < COLS; c++) begin
          bit signed [15:0] a, b;
          a = word[32*c+:16];
          b = word[32*c+16+:16];
          sum[c] = (mode == isa_pkg::DRAIN_MUL ? 32'(a) * 32'(b) : word[32*c+:32]) + biases[32*c+:32];
        end
    end
  end
  always_comb begin
    out_valid = valid[5];
    busy = valid != 0;
  end
endmodule
