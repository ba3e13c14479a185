// Control of the execute unit: walks the window over the input buffer, and loads the weights of each block ahead of it.
//
// Two processes share an instruction: the walker issues a vector a cycle; the loader fills the array's other weight plane, a
// row a cycle, and is one block ahead. Rows of the array change planes one after another, as the vectors reach them, so
// a block can be used from its second loaded row on. With transposed weights a column crosses all rows, so there the
// loader waits until the last row has changed, and the walker until the block is complete.
module exec_unit #(
    parameter int ROWS = 16,
    parameter int COLS = 16
) (
    input bit clk,
    input bit reset,
    input bit head_valid,
    input bit head_ready,
    input isa_pkg::exec_t head,
    output bit take,
    // a vector
    output bit issue,
    output bit [31:0] issue_address,  // of a byte in the input buffer
    output bit issue_pad,
    output bit issue_swap,            // before this vector, change planes
    output bit [15:0] issue_acc,
    output bit issue_half,
    output bit issue_fresh,           // overwrite the accumulator's word
    output bit [3:0] issue_mode,
    output bit issue_second,          // PAIR: operand b
    output bit [9:0] issue_zero,      // int9 zero point and, above it, signedness
    output bit issue_last,
    output bit [3:0] issue_give,
    // weights
    output bit weight_read,
    output bit [15:0] weight_address,
    output bit load_row,              // a cycle after weight_read
    output bit load_column,
    output bit load_identity,         // not from memory: 1 on the diagonal
    output bit load_diagonal,         // only the weight on the diagonal
    output bit [$clog2(COLS)-1:0] load_index,
    output bit [9:0] load_zero,
    // what it is waiting for
    output bit idle,
    output bit no_instruction,
    output bit no_weights
);
  localparam int SLICES = COLS / ROWS;

  isa_pkg::exec_t next, walk, load;
  bit next_for_walker, next_for_loader, walking, loading;

  // ---- walker
  bit [15:0] c, ky, kx, oy, ox;  // left, this one included
  bit [31:0] block_c, block_ky, block_kx, row, here;  // addresses at the start of each loop, and of this vector
  bit [15:0] block_y, block_x, y, x;
  bit [15:0] acc;
  bit block_start, first_block, second_block, gap, own_weights;
  bit last_ox, last_vector, last_kx, last_ky, last_block, walk_done, start_walk;
  bit weights_there, swaps;

  always_comb begin
    own_weights = walk.mode == isa_pkg::EXEC_ARRAY || walk.mode == isa_pkg::EXEC_LANES;
    swaps = block_start && (own_weights || first_block);
    last_ox = ox == 1;
    last_vector = last_ox && oy == 1;
    last_kx = kx == 1;
    last_ky = last_kx && ky == 1;
    last_block = last_ky && c == 1;
    issue = walking && !gap && (!swaps || weights_there);
    walk_done = issue && last_vector && last_block;
    start_walk = next_for_walker && (!walking || walk_done);
    issue_address = here;
    issue_pad = x >= walk.in_w || y >= walk.in_h;  // negative ones are large
    issue_swap = swaps;
    issue_acc = acc;
    issue_half = walk.half;
    issue_fresh = first_block && !walk.accumulate;
    issue_mode = walk.mode;
    issue_second = second_block;
    issue_zero = walk.mode == isa_pkg::EXEC_PAIR && second_block
        ? {walk.w_signed, walk.w_zero[8:0]} : {walk.a_signed, walk.a_zero[8:0]};
    issue_last = last_vector && last_block;
    issue_give = walk.give;
    no_instruction = !walking;
    no_weights = walking && swaps && !weights_there;
  end

  always_ff @(posedge clk) begin
    gap <= issue && block_start && last_vector;  // a word is read two cycles before the next read may see it
    if (issue) begin
      block_start <= 0;
      acc <= acc + 16'd1;
      ox <= ox - 16'd1;
      here <= here + walk.ox_step;
      x <= x + walk.ox_dx;
      if (last_ox) begin
        ox <= walk.ox_count;
        oy <= oy - 16'd1;
        row <= row + walk.oy_step;
        here <= row + walk.oy_step;
        x <= block_x;
        y <= y + walk.oy_dy;
      end
      if (last_vector) begin
        oy <= walk.oy_count;
        acc <= walk.acc;
        block_start <= 1;
        first_block <= 0;
        second_block <= first_block;
        kx <= kx - 16'd1;
        block_kx <= block_kx + walk.kx_step;
        row <= block_kx + walk.kx_step;
        here <= block_kx + walk.kx_step;
        block_x <= block_x + walk.kx_dx;
        x <= block_x + walk.kx_dx;
        y <= block_y;
        if (last_kx) begin
          kx <= walk.kx_count;
          ky <= ky - 16'd1;
          block_ky <= block_ky + walk.ky_step;
          block_kx <= block_ky + walk.ky_step;
          row <= block_ky + walk.ky_step;
          here <= block_ky + walk.ky_step;
          block_x <= walk.x0;
          x <= walk.x0;
          block_y <= block_y + walk.ky_dy;
          y <= block_y + walk.ky_dy;
        end
        if (last_ky) begin
          ky <= walk.ky_count;
          c <= c - 16'd1;
          block_c <= block_c + walk.c_step;
          block_ky <= block_c + walk.c_step;
          block_kx <= block_c + walk.c_step;
          row <= block_c + walk.c_step;
          here <= block_c + walk.c_step;
          block_y <= walk.y0;
          y <= walk.y0;
        end
        if (last_block) walking <= 0;
      end
    end
    if (start_walk) begin
      walk <= next;
      walking <= 1;
      {c, ky, kx, oy, ox} <= {next.c_count, next.ky_count, next.kx_count, next.oy_count, next.ox_count};
      block_c <= next.base;
      block_ky <= next.base;
      block_kx <= next.base;
      row <= next.base;
      here <= next.base;
      block_x <= next.x0;
      x <= next.x0;
      block_y <= next.y0;
      y <= next.y0;
      acc <= next.acc;
      block_start <= 1;
      first_block <= 1;
      second_block <= 0;
    end
    if (reset) begin
      walking <= 0;
      gap <= 0;
    end
  end

  // ---- loader
  bit [15:0] load_c, load_ky, load_kx, from;
  bit [7:0] index, settle;
  bit busy, started, start_load, one_block, by_column, last_index, last_of_load, identity;

  always_comb begin
    identity = load.mode != isa_pkg::EXEC_ARRAY && load.mode != isa_pkg::EXEC_LANES;
    by_column = load.mode == isa_pkg::EXEC_ARRAY && load.transposed;
    one_block = identity || (load_kx == 1 && load_ky == 1 && load_c == 1);
    started = loading && (busy || (!weights_there && (!by_column || settle == 0)));  // this cycle has an index
    last_index = 32'(index) == (by_column ? COLS : ROWS) - 1;
    last_of_load = started && last_index && one_block;
    start_load = next_for_loader && (!loading || last_of_load);
    weight_read = started && !identity;
    weight_address = from;
    take = head_valid && head_ready && (!next_for_walker || start_walk) && (!next_for_loader || start_load);
    idle = !walking && !next_for_walker && !loading && !next_for_loader;
  end

  always_ff @(posedge clk) begin
    load_row <= started && !by_column;
    load_column <= started && by_column;
    load_identity <= identity;
    load_diagonal <= load.mode == isa_pkg::EXEC_LANES;
    load_index <= index[$clog2(COLS)-1:0];
    load_zero <= {load.w_signed, load.w_zero[8:0]};
    if (settle != 0) settle <= settle - 8'd1;
    if (issue && swaps) begin
      weights_there <= 0;
      settle <= 8'(ROWS);
    end
    if (started) begin
      index <= index + 8'd1;
      busy <= 1;
      if (by_column) from <= from + 16'd1;
      else if (load.mode == isa_pkg::EXEC_ARRAY) from <= from + 16'(SLICES);
      if (by_column ? last_index : index == 0) weights_there <= 1;
      if (last_index) begin
        busy <= 0;
        index <= 0;
        if (load.mode == isa_pkg::EXEC_LANES) from <= from + 16'd1;
        load_kx <= load_kx - 16'd1;
        if (load_kx == 1) begin
          load_kx <= load.kx_count;
          load_ky <= load_ky - 16'd1;
          if (load_ky == 1) begin
            load_ky <= load.ky_count;
            load_c <= load_c - 16'd1;
          end
        end
        if (one_block) loading <= 0;
      end
    end
    if (start_load) begin
      load <= next;
      loading <= 1;
      {load_c, load_ky, load_kx} <= {next.c_count, next.ky_count, next.kx_count};
      from <= next.weights;
    end
    if (start_walk) next_for_walker <= 0;
    if (start_load) next_for_loader <= 0;
    if (take) begin
      next <= head;
      next_for_walker <= 1;
      next_for_loader <= 1;
    end
    if (reset) begin
      {next_for_walker, next_for_loader, loading, busy, weights_there} <= 0;
      index <= 0;
      settle <= 0;
    end
  end
endmodule
