// One core: fetch, load, execute, drain and store, their buffers, and the tokens between them.
module core #(
    parameter int ROWS = 16,
    parameter int COLS = 16,
    parameter int BUS_BYTES = 64,
    parameter int INPUT_GRANULES = 8192,
    parameter int WEIGHT_GRANULES = 8192,
    parameter int ACC_WORDS = 1024,
    parameter int OUTPUT_GRANULES = 2048,
    parameter int PARAM_GRANULES = 512
) (
    input bit clk,
    input bit reset,
    input bit start,
    input bit [31:0] program_address,
    output bit done,
    output bit fault,
    // reads: bursts of whole beats; data come in the order of the requests, and are always accepted
    output bit ar_valid,
    output bit [31:0] ar_address,
    output bit [8:0] ar_beats,
    input bit ar_ready,
    input bit r_valid,
    input bit [BUS_BYTES*8-1:0] r_data,
    // writes: data follow their address, in the same order; the mask has a bit a granule
    output bit aw_valid,
    output bit [31:0] aw_address,
    output bit [8:0] aw_beats,
    input bit aw_ready,
    output bit w_valid,
    output bit [BUS_BYTES*8-1:0] w_data,
    output bit [BUS_BYTES/ROWS-1:0] w_mask,
    input bit w_ready,
    input bit b_valid,
    // what happened
    output bit stamp_valid,
    output bit [15:0] stamp,
    output bit progress,            // something moved in this cycle
    output bit [63:0] state,        // for a report of what hangs; see below
    input bit [4:0] counter_index,
    output bit [47:0] counter
);
  localparam int LANES = BUS_BYTES / ROWS;
  localparam int SLICES = COLS / ROWS;
  localparam int GRANULE_BITS = ROWS * 8;
  localparam int INPUT_BANKS = LANES < 2 ? 2 : LANES;
  localparam int WEIGHT_BANKS = LANES < SLICES ? SLICES : LANES;

  // ---- fetch and the queues
  bit [511:0] instruction;
  bit [4:1] push, full;
  bit fetch_request, fetch_granted, fetch_beat, fetch_idle, halted, illegal;
  bit [31:0] fetch_address;
  bit [3:0] fetch_instructions;
  bit [3:0] head_valid, take, ready, give, unit_idle;
  bit [3:0] load_count, exec_count, drain_count, store_count;
  bit [15:0] want, given, present;
  bit overflow;
  isa_pkg::load_t load_head;
  isa_pkg::exec_t exec_head;
  isa_pkg::drain_t drain_head;
  isa_pkg::store_t store_head;

  fetch #(
      .BUS_BYTES(BUS_BYTES)
  ) fetcher (
      .clk, .reset, .start, .program_address,
      .request(fetch_request), .request_address(fetch_address), .request_instructions(fetch_instructions),
      .granted(fetch_granted), .beat(fetch_beat), .beat_data(r_data),
      .instruction, .push, .full, .halted, .fault(illegal), .idle(fetch_idle)
  );
  instruction_queue #(
      .BITS(isa_pkg::LOAD_BITS)
  ) load_queue (
      .clk, .reset, .push(push[1]), .pushed(instruction[isa_pkg::LOAD_BITS-1:0]), .pop(take[0]), .full(full[1]),
      .valid(head_valid[0]), .head(load_head), .count(load_count)
  );
  instruction_queue #(
      .BITS(isa_pkg::EXEC_BITS)
  ) exec_queue (
      .clk, .reset, .push(push[2]), .pushed(instruction[isa_pkg::EXEC_BITS-1:0]), .pop(take[1]), .full(full[2]),
      .valid(head_valid[1]), .head(exec_head), .count(exec_count)
  );
  instruction_queue #(
      .BITS(isa_pkg::DRAIN_BITS)
  ) drain_queue (
      .clk, .reset, .push(push[3]), .pushed(instruction[isa_pkg::DRAIN_BITS-1:0]), .pop(take[2]), .full(full[3]),
      .valid(head_valid[2]), .head(drain_head), .count(drain_count)
  );
  instruction_queue #(
      .BITS(isa_pkg::STORE_BITS)
  ) store_queue (
      .clk, .reset, .push(push[4]), .pushed(instruction[isa_pkg::STORE_BITS-1:0]), .pop(take[3]), .full(full[4]),
      .valid(head_valid[3]), .head(store_head), .count(store_count)
  );
  tokens counters_of_tokens (
      .clk, .reset, .want, .take, .give, .given, .ready, .present, .overflow
  );
  always_comb want = {store_head.take, drain_head.take, exec_head.take, load_head.take};

  // ---- load
  bit [LANES-1:0] load_write, input_write, weight_write, param_write, table_write;
  bit [3:0] load_target;
  bit [15:0] load_address;
  bit expecting_weights;
  reader #(
      .ROWS(ROWS), .BUS_BYTES(BUS_BYTES)
  ) loader (
      .clk, .reset, .head_valid(head_valid[0]), .head_ready(ready[0]), .head(load_head), .take(take[0]),
      .fetch_request, .fetch_address, .fetch_instructions, .fetch_granted, .fetch_beat,
      .ar_valid, .ar_address, .ar_beats, .ar_ready, .r_valid,
      .write(load_write), .write_target(load_target), .write_address(load_address),
      .give(give[0]), .given(given[3:0]), .idle(unit_idle[0]), .expecting_weights
  );
  always_comb begin
    input_write = load_target == isa_pkg::TARGET_INPUT ? load_write : '0;
    weight_write = load_target == isa_pkg::TARGET_WEIGHT ? load_write : '0;
    param_write = load_target == isa_pkg::TARGET_PARAM ? load_write : '0;
    table_write = load_target == isa_pkg::TARGET_TABLE ? load_write : '0;
  end

  // ---- execute
  bit issue, issue_pad, issue_swap, issue_half, issue_fresh, issue_second, issue_last;
  bit [31:0] issue_address;
  bit [15:0] issue_acc;
  bit [3:0] issue_mode, issue_give;
  bit [9:0] issue_zero, load_zero;
  bit weight_read, load_row, load_column, load_identity, load_diagonal;
  bit [15:0] weight_address;
  bit [$clog2(COLS)-1:0] load_index;
  bit exec_idle, path_idle, no_instruction, no_weights;
  bit [2*GRANULE_BITS-1:0] input_bytes;
  bit [COLS*8-1:0] weight_bytes;
  bit [31:0] tag;
  bit [COLS*32-1:0] sums;

  exec_unit #(
      .ROWS(ROWS), .COLS(COLS)
  ) executer (
      .clk, .reset, .head_valid(head_valid[1]), .head_ready(ready[1]), .head(exec_head), .take(take[1]),
      .issue, .issue_address, .issue_pad, .issue_swap, .issue_acc, .issue_half, .issue_fresh, .issue_mode, .issue_second,
      .issue_zero, .issue_last, .issue_give,
      .weight_read, .weight_address, .load_row, .load_column, .load_identity, .load_diagonal, .load_index, .load_zero,
      .idle(exec_idle), .no_instruction, .no_weights
  );
  banked_ram #(
      .GRANULE_BITS(GRANULE_BITS), .GRANULES(INPUT_GRANULES), .BANKS(INPUT_BANKS), .WRITES(LANES), .READS(2)
  ) input_buffer (
      .clk, .write(input_write), .write_address(load_address), .write_data(r_data),
      .read(issue && !issue_pad), .read_address(16'(issue_address >> $clog2(ROWS))), .read_data(input_bytes)
  );
  banked_ram #(
      .GRANULE_BITS(GRANULE_BITS), .GRANULES(WEIGHT_GRANULES), .BANKS(WEIGHT_BANKS), .WRITES(LANES), .READS(SLICES)
  ) weight_buffer (
      .clk, .write(weight_write), .write_address(load_address), .write_data(r_data),
      .read(weight_read), .read_address(weight_address), .read_data(weight_bytes)
  );
  exec_path #(
      .ROWS(ROWS), .COLS(COLS)
  ) path (
      .clk, .reset, .issue, .issue_byte(issue_address[$clog2(ROWS)-1:0]), .issue_pad, .issue_swap, .issue_acc, .issue_half,
      .issue_fresh, .issue_mode, .issue_second, .issue_zero, .issue_last, .issue_give,
      .bytes(input_bytes), .load_row, .load_column, .load_identity, .load_diagonal, .load_index, .load_zero,
      .weight_bytes, .tag, .sums, .idle(path_idle)
  );

  // ---- accumulate and drain
  bit acc_read, acc_half, acc_granted;
  bit [15:0] acc_address;
  bit [COLS*32-1:0] acc_word;
  bit param_read;
  bit [15:0] param_address;
  bit [GRANULE_BITS-1:0] param_data;
  bit lookup, table_busy, drain_idle;
  bit [COLS*8-1:0] index, entry, output_data;
  bit output_write;
  bit [15:0] output_address;

  accumulator #(
      .COLS(COLS), .WORDS(ACC_WORDS)
  ) acc (
      .clk, .reset, .tag, .sums, .give(give[1]), .given(given[7:4]),
      .drain_read(acc_read), .drain_half(acc_half), .drain_address(acc_address), .drain_granted(acc_granted),
      .drain_word(acc_word)
  );
  banked_ram #(
      .GRANULE_BITS(GRANULE_BITS), .GRANULES(PARAM_GRANULES), .BANKS(LANES), .WRITES(LANES), .READS(1)
  ) param_memory (
      .clk, .write(param_write), .write_address(load_address), .write_data(r_data),
      .read(param_read), .read_address(param_address), .read_data(param_data)
  );
  lookup_table #(
      .ROWS(ROWS), .COLS(COLS), .BUS_BYTES(BUS_BYTES)
  ) the_table (
      .clk, .reset, .write(table_write), .write_address(load_address), .write_data(r_data),
      .lookup, .index, .entry, .busy(table_busy)
  );
  drain_unit #(
      .ROWS(ROWS), .COLS(COLS)
  ) drainer (
      .clk, .reset, .head_valid(head_valid[2]), .head_ready(ready[2]), .head(drain_head), .take(take[2]),
      .param_read, .param_address, .param_data,
      .acc_read, .acc_half, .acc_address, .acc_granted, .acc_word,
      .index, .lookup, .entry, .table_busy,
      .write(output_write), .write_address(output_address), .write_data(output_data),
      .give(give[2]), .given(given[11:8]), .idle(drain_idle)
  );

  // ---- store
  bit output_read;
  bit [15:0] output_read_address;
  bit [SLICES*BUS_BYTES*8-1:0] output_bytes;
  for (genvar s = 0; s < SLICES; s++) begin : g_slice
    banked_ram #(
        .GRANULE_BITS(GRANULE_BITS), .GRANULES(OUTPUT_GRANULES), .BANKS(LANES), .WRITES(1), .READS(LANES)
    ) output_buffer (
        .clk, .write(output_write), .write_address(output_address), .write_data(output_data[s*GRANULE_BITS+:GRANULE_BITS]),
        .read(output_read), .read_address(output_read_address),
        .read_data(output_bytes[s*BUS_BYTES*8+:BUS_BYTES*8])
    );
  end
  store_unit #(
      .ROWS(ROWS), .SLICES(SLICES), .BUS_BYTES(BUS_BYTES)
  ) storer (
      .clk, .reset, .head_valid(head_valid[3]), .head_ready(ready[3]), .head(store_head), .take(take[3]),
      .read(output_read), .read_address(output_read_address), .read_data(output_bytes),
      .aw_valid, .aw_address, .aw_beats, .aw_ready, .w_valid, .w_data, .w_mask, .w_ready, .b_valid,
      .give(give[3]), .given(given[15:12]), .stamp_valid, .stamp, .idle(unit_idle[3])
  );

  // ---- done, state, counters
  bit running;
  always_comb begin
    unit_idle[1] = exec_idle && path_idle;
    unit_idle[2] = drain_idle;
    done = halted && fetch_idle && unit_idle == 4'hf && head_valid == 0;
    fault = illegal || overflow;
    progress = issue || r_valid || weight_read || acc_granted || param_read || output_write
        || (w_valid && w_ready) || b_valid || take != 0 || push != 0;
    // 4 queue lengths, 4 x want, present, idle, heads, done
    state = {
        8'd0, halted, fetch_idle, overflow, illegal, unit_idle, present, want,
        store_count, drain_count, exec_count, load_count
    };
  end

  bit [47:0] counters[isa_pkg::COUNTERS];
  bit stalled, waits_for_load;
  always_comb begin
    stalled = running && !done && !issue;
    waits_for_load = want[4] && !present[4];
    counter = counters[counter_index];
  end
  always_ff @(posedge clk) begin
    if (running && !done) counters[isa_pkg::COUNT_CYCLES] = counters[isa_pkg::COUNT_CYCLES] + 48'd1;
    if (issue) begin
      counters[isa_pkg::COUNT_VECTORS] = counters[isa_pkg::COUNT_VECTORS] + 48'd1;
      if (issue_mode == isa_pkg::EXEC_ARRAY)
        counters[isa_pkg::COUNT_ARRAY_VECTORS] = counters[isa_pkg::COUNT_ARRAY_VECTORS] + 48'd1;
      if (issue_mode == isa_pkg::EXEC_LANES)
        counters[isa_pkg::COUNT_LANE_VECTORS] = counters[isa_pkg::COUNT_LANE_VECTORS] + 48'd1;
      if (issue_pad) counters[isa_pkg::COUNT_PADDED] = counters[isa_pkg::COUNT_PADDED] + 48'd1;
    end
    if (stalled) begin
      if (no_weights || (no_instruction && head_valid[1] && waits_for_load && expecting_weights))
        counters[isa_pkg::COUNT_STALL_WEIGHTS] = counters[isa_pkg::COUNT_STALL_WEIGHTS] + 48'd1;
      else if (no_instruction && !head_valid[1])
        counters[isa_pkg::COUNT_STALL_PROGRAM] = counters[isa_pkg::COUNT_STALL_PROGRAM] + 48'd1;
      else if (no_instruction && waits_for_load)
        counters[isa_pkg::COUNT_STALL_INPUTS] = counters[isa_pkg::COUNT_STALL_INPUTS] + 48'd1;
      else if (no_instruction && (want[7:6] & ~present[7:6]) != 0)
        counters[isa_pkg::COUNT_STALL_OUTPUTS] = counters[isa_pkg::COUNT_STALL_OUTPUTS] + 48'd1;
      else counters[isa_pkg::COUNT_STALL_TOKENS] = counters[isa_pkg::COUNT_STALL_TOKENS] + 48'd1;
    end
    if (r_valid) counters[isa_pkg::COUNT_READ_BEATS] = counters[isa_pkg::COUNT_READ_BEATS] + 48'd1;
    if (w_valid && w_ready) counters[isa_pkg::COUNT_WRITE_BEATS] = counters[isa_pkg::COUNT_WRITE_BEATS] + 48'd1;
    if (ar_valid && ar_ready) counters[isa_pkg::COUNT_READ_BURSTS] = counters[isa_pkg::COUNT_READ_BURSTS] + 48'd1;
    if (aw_valid && aw_ready) counters[isa_pkg::COUNT_WRITE_BURSTS] = counters[isa_pkg::COUNT_WRITE_BURSTS] + 48'd1;
    if (input_write != 0)
      counters[isa_pkg::COUNT_INPUT_WRITES] = counters[isa_pkg::COUNT_INPUT_WRITES] + 48'($countones(input_write));
    if (weight_write != 0)
      counters[isa_pkg::COUNT_WEIGHT_WRITES] = counters[isa_pkg::COUNT_WEIGHT_WRITES] + 48'($countones(weight_write));
    if (weight_read) counters[isa_pkg::COUNT_WEIGHT_READS] = counters[isa_pkg::COUNT_WEIGHT_READS] + 48'(SLICES);
    if (tag[16]) counters[isa_pkg::COUNT_ACC_WRITES] = counters[isa_pkg::COUNT_ACC_WRITES] + 48'd1;
    if (acc_granted) counters[isa_pkg::COUNT_ACC_DRAINS] = counters[isa_pkg::COUNT_ACC_DRAINS] + 48'd1;
    if (output_write) counters[isa_pkg::COUNT_OUTPUT_WRITES] = counters[isa_pkg::COUNT_OUTPUT_WRITES] + 48'(SLICES);
    if (output_read) counters[isa_pkg::COUNT_OUTPUT_READS] = counters[isa_pkg::COUNT_OUTPUT_READS] + 48'(LANES);
    if (start) running <= 1;
    if (reset) begin
      running <= 0;
      for (int i = 0; i < isa_pkg::COUNTERS; i++) counters[i] = 0;
    end
  end
endmodule
