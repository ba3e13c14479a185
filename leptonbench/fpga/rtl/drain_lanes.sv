// COLS lanes that turn accumulator words into bytes, a word a cycle.
//
// REQUANT and MUL take 7 stages: integer, normalised, float32, product, float32, rounded integer, byte. ADD takes 11: product,
// terms at one exponent, sum, normalised, float32 of the inner fma; the last four again for the outer one; rounded integer,
// byte. The operands of ADD and MUL are int9, as PAIR leaves them.
//
// Stages are run last first, so that each reads what the one before held at the clock edge, and nothing moves where there is
// no word. The settings must not change while words are inside.
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
    output bit out_valid,
    output bit [COLS*8-1:0] bytes
);
  localparam int REQUANT_STAGES = 7;
  localparam int ADD_STAGES = 11;

  bit adds;
  bit [ADD_STAGES:1] valid;  // stage s holds a word
  bit last;                  // the stage before the byte does
  float_pkg::number_t factor_a, factor_b;
  always_comb begin
    adds = mode == isa_pkg::DRAIN_ADD;
    factor_a = float_pkg::unpack(scale_a);
    factor_b = float_pkg::unpack(scale_b);
    last = adds ? valid[ADD_STAGES-1] : valid[REQUANT_STAGES-1];
  end

  int sum[COLS];
  float_pkg::exact_t normal[COLS], product[COLS], total[COLS], total_normal[COLS];
  float_pkg::exact_t outer_total[COLS], outer_normal[COLS];
  float_pkg::number_t value[COLS], inner[COLS], result[COLS];
  float_pkg::terms_t terms[COLS], outer_terms[COLS];
  bit [32:0] scaled_b[COLS], scaled_a[COLS];
  bit negative_b[COLS];
  bit signed [8:0] a_1[COLS], a_2[COLS], a_3[COLS], a_4[COLS];
  bit negative_a[COLS];
  bit signed [16:0] whole[COLS];

  always_ff @(posedge clk) begin
    valid <= {valid[ADD_STAGES-1:1], in_valid};
    if (!adds) valid[REQUANT_STAGES] <= 0;  // it has left
    if (reset) valid <= 0;
    out_valid <= last && !reset;
    if (last)
      for (int c = 0; c < COLS; c++) begin
        bit signed [17:0] q;
        q = 18'(whole[c]) + 18'(zero);
        bytes[8*c+:8] <= q < 18'(low) ? low[7:0] : q > 18'(high) ? high[7:0] : q[7:0];
      end
    if (adds ? valid[ADD_STAGES-2] : valid[REQUANT_STAGES-2])
      for (int c = 0; c < COLS; c++) whole[c] = float_pkg::to_int(result[c]);
    if (adds) begin
      if (valid[8]) for (int c = 0; c < COLS; c++) result[c] = float_pkg::round(outer_normal[c]);
      if (valid[7]) for (int c = 0; c < COLS; c++) outer_normal[c] = float_pkg::normalise(outer_total[c]);
      if (valid[6]) for (int c = 0; c < COLS; c++) outer_total[c] = float_pkg::add(outer_terms[c]);
      if (valid[5])
        for (int c = 0; c < COLS; c++)
          outer_terms[c] = float_pkg::align(negative_a[c], scaled_a[c], factor_a, inner[c]);
      if (valid[4])
        for (int c = 0; c < COLS; c++) begin
          inner[c] = float_pkg::round(total_normal[c]);
          scaled_a[c] = float_pkg::scale_up(a_4[c], factor_a);
          negative_a[c] = a_4[c] < 0;
        end
      if (valid[3])
        for (int c = 0; c < COLS; c++) begin
          total_normal[c] = float_pkg::normalise(total[c]);
          a_4[c] = a_3[c];
        end
      if (valid[2])
        for (int c = 0; c < COLS; c++) begin
          total[c] = float_pkg::add(terms[c]);
          a_3[c] = a_2[c];
        end
      if (valid[1])
        for (int c = 0; c < COLS; c++) begin
          terms[c] = float_pkg::align(negative_b[c], scaled_b[c], factor_b, float_pkg::unpack(fixed));
          a_2[c] = a_1[c];
        end
      if (in_valid)
        for (int c = 0; c < COLS; c++) begin
          bit signed [8:0] b;
          b = word[32*c+16+:9];
          scaled_b[c] = float_pkg::scale_up(b, factor_b);
          negative_b[c] = b < 0;
          a_1[c] = word[32*c+:9];
        end
    end else begin
      if (valid[4]) for (int c = 0; c < COLS; c++) result[c] = float_pkg::round_product(product[c]);
      if (valid[3])
        for (int c = 0; c < COLS; c++)
          product[c] = float_pkg::multiply(value[c], float_pkg::unpack(scales[32*c+:32]));
      if (valid[2]) for (int c = 0; c < COLS; c++) value[c] = float_pkg::round(normal[c]);
      if (valid[1])
        for (int c = 0; c < COLS; c++) normal[c] = float_pkg::normalise(float_pkg::of_int(sum[c]));
      if (in_valid)
        for (int c = 0; c < COLS; c++) begin
          bit signed [8:0] a, b;
          a = word[32*c+:9];
          b = word[32*c+16+:9];
          sum[c] = (mode == isa_pkg::DRAIN_MUL ? 32'(18'(a) * 18'(b)) : word[32*c+:32]) + biases[32*c+:32];
        end
    end
  end
endmodule
