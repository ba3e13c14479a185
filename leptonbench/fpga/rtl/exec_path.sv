// Data path of the execute unit: bytes from the buffers become int9 vectors and weights, go through the array, and their
// sums come out with the accumulator word that they belong to.
module exec_path #(
    parameter int ROWS = 16,
    parameter int COLS = 16
) (
    input bit clk,
    input bit reset,
    // from the walker
    input bit issue,
    input bit [$clog2(ROWS)-1:0] issue_byte,  // where in the first granule the vector begins
    input bit issue_pad,
    input bit issue_swap,
    input bit [15:0] issue_acc,
    input bit issue_half,
    input bit issue_fresh,
    input bit [3:0] issue_mode,
    input bit issue_second,
    input bit [9:0] issue_zero,
    input bit issue_last,
    input bit [3:0] issue_give,
    // from the input buffer, a cycle after issue: two consecutive granules
    input bit [2*ROWS*8-1:0] bytes,
    // from the loader, and from the weight buffer in the same cycle
    input bit load_row,
    input bit load_column,
    input bit load_identity,
    input bit load_diagonal,
    input bit [$clog2(COLS)-1:0] load_index,
    input bit [9:0] load_zero,
    input bit [COLS*8-1:0] weight_bytes,
    // to the accumulator: the tag comes a cycle before the sums
    output bit [31:0] tag,
    output bit [COLS*32-1:0] sums,
    output bit idle
);
  // Stages after issue: bytes, vector, ROWS + 2 in the array; the tag is wanted one before the last.
  localparam int STAGES = ROWS + 2;  // and `tag` itself
  bit [31:0] tags[STAGES];
  bit [7:0] alive;  // cycles until the last vector has left

  bit now, now_pad, now_swap;
  bit [$clog2(ROWS)-1:0] now_byte;
  bit [9:0] now_zero;
  bit vector_valid;
  bit [ROWS*9-1:0] vector;
  bit [COLS*9-1:0] weights;

  // A byte less its zero point; the two's complement of nine bits holds every difference.
  function automatic bit [8:0] less_zero(input bit [7:0] value, input bit [9:0] zero);
    return {zero[9] & value[7], value} - zero[8:0];
  endfunction

  always_ff @(posedge clk) begin
    now <= issue;
    now_pad <= issue_pad;
    now_swap <= issue && issue_swap;
    now_byte <= issue_byte;
    now_zero <= issue_zero;
    vector_valid <= now;
    if (now) begin
      bit [2*ROWS*8-1:0] aligned;
      aligned = bytes;
      if (now_byte != 0) aligned = bytes >> {now_byte, 3'd0};
      if (now_pad) vector <= 0;
      else for (int r = 0; r < ROWS; r++) vector[9*r+:9] <= less_zero(aligned[8*r+:8], now_zero);
    end
    if (alive != 0 || issue) begin
      tag <= tags[STAGES-1];
      for (int s = STAGES - 1; s > 0; s--) tags[s] = tags[s-1];
      tags[0] = issue ? {
          2'd0, issue_pad, issue_last, issue_give, issue_second, issue_fresh, issue_mode, issue_half, 1'b1, issue_acc
      } : 32'd0;
    end
    if (issue) alive <= 8'(ROWS + 6);
    else if (alive != 0) alive <= alive - 8'd1;
    if (reset) begin
      alive <= 0;
      now <= 0;
      now_swap <= 0;
      vector_valid <= 0;
      tag <= 0;
      for (int s = 0; s < STAGES; s++) tags[s] = 0;
    end
  end
  always_comb idle = alive == 0;

  always_comb begin
    weights = 0;
    if (load_row || load_column) begin
      for (int c = 0; c < COLS; c++) begin
        weights[9*c+:9] = load_identity ? 9'd1 : less_zero(weight_bytes[8*c+:8], load_zero);
        if ((load_identity || load_diagonal) && c != 32'(load_index)) weights[9*c+:9] = 0;
      end
    end
  end

  mac_array #(
      .ROWS(ROWS),
      .COLS(COLS)
  ) array (
      .clk,
      .busy(alive != 0),
      .in_valid(vector_valid),
      .in_swap(now_swap),
      .in_vector(vector),
      .load_row,
      .load_column,
      .load_index,
      .load_weights(weights),
      .out_sums(sums)
  );
endmodule
