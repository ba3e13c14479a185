// The weight-stationary array: ROWS x COLS multiply-accumulates, sums cascading down the columns.
//
// A vector enters all rows over ROWS cycles, one row a cycle (the skew), broadcast along the row; every column of its
// result leaves in the same cycle, ROWS + 2 cycles after `in_valid`. One multiply-accumulate is one DSP block: operands,
// product and sum are each registered. The weights of the next block are written into a second plane while this one
// computes; `in_swap` comes with the last vector before the change, and reaches each row with that vector.
//
// State that only this process reads is written with blocking assignments, last stage first, so that each stage reads what
// the one before held at the clock edge: the same registers as with non-blocking ones, without the simulator's second copy
// of each. What other processes read is written without blocking.
module mac_array #(
    parameter int ROWS = 16,
    parameter int COLS = 16
) (
    input bit clk,
    input bit busy,                             // a vector is inside: without, nothing moves
    input bit in_valid,
    input bit in_swap,                          // after this cycle's vector, use the weights of the other plane
    input bit [ROWS*9-1:0] in_vector,           // int9 a row
    input bit load_row,                         // write a row of the other plane
    input bit load_column,                      // write a column of it, from the first ROWS lanes
    input bit [$clog2(COLS)-1:0] load_index,
    input bit [COLS*9-1:0] load_weights,        // int9 a column
    output bit [COLS*32-1:0] out_sums           // int32 a column
);
  bit signed [8:0] skew[ROWS][ROWS];  // [age][row]: row r is used at age r
  bit swap[ROWS];
  bit signed [8:0] weight[ROWS][COLS];
  bit signed [8:0] shadow[ROWS][COLS];
  bit signed [17:0] product[ROWS][COLS];
  int sum[ROWS-1][COLS];  // the last row's is the output

  always_ff @(posedge clk) begin
    if (busy) begin
      for (int c = 0; c < COLS; c++) out_sums[32*c+:32] <= sum[ROWS-2][c] + 32'(product[ROWS-1][c]);
      for (int r = ROWS - 2; r > 0; r--)
        for (int c = 0; c < COLS; c++) sum[r][c] = sum[r-1][c] + 32'(product[r][c]);
      for (int c = 0; c < COLS; c++) sum[0][c] = 32'(product[0][c]);
      for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < COLS; c++) product[r][c] = skew[r][r] * weight[r][c];
      for (int r = 0; r < ROWS; r++)
        if (swap[r])
          for (int c = 0; c < COLS; c++) weight[r][c] = shadow[r][c];
      for (int r = ROWS - 1; r > 0; r--) swap[r] = swap[r-1];
      swap[0] = in_swap;
      for (int age = ROWS - 1; age > 0; age--)
        for (int r = 0; r < ROWS; r++) skew[age][r] = skew[age-1][r];
      for (int r = 0; r < ROWS; r++) skew[0][r] = in_valid ? in_vector[9*r+:9] : 9'd0;
    end
    if (load_row)
      for (int c = 0; c < COLS; c++) shadow[load_index[$clog2(ROWS)-1:0]][c] = load_weights[9*c+:9];
    if (load_column)
      for (int r = 0; r < ROWS; r++) shadow[r][load_index] = load_weights[9*r+:9];
  end
endmodule
