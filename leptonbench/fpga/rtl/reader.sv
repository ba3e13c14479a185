// The load unit, and the read side of the bus, which it shares with fetch.
//
// Requests run ahead of data: each burst leaves a note in `notes` that says where its data go, so that several bursts, also of
// several instructions, are on their way at once. Bursts stay inside 4096 aligned bytes, as AXI demands.
module reader #(
    parameter int ROWS = 16,
    parameter int BUS_BYTES = 64
) (
    input bit clk,
    input bit reset,
    // the next instruction
    input bit head_valid,
    input bit head_ready,  // its tokens are there
    input isa_pkg::load_t head,
    output bit take,
    // fetch
    input bit fetch_request,
    input bit [31:0] fetch_address,
    input bit [3:0] fetch_instructions,
    output bit fetch_granted,
    output bit fetch_beat,
    // bus
    output bit ar_valid,
    output bit [31:0] ar_address,  // a multiple of BUS_BYTES
    output bit [8:0] ar_beats,
    input bit ar_ready,
    input bit r_valid,
    // buffers: lane k of the beat goes to granule write_address + k
    output bit [BUS_BYTES/ROWS-1:0] write,
    output bit [3:0] write_target,
    output bit [15:0] write_address,
    // tokens
    output bit give,
    output bit [3:0] given,
    output bit idle,
    output bit expecting_weights  // what comes next is for the weight, parameter or table memory
);
  localparam int LANES = BUS_BYTES / ROWS;
  localparam int R = $clog2(ROWS);
  localparam int NOTES = 16;

  typedef struct packed {
    bit is_fetch;
    bit last;            // of its instruction
    bit [3:0] give;
    bit [3:0] target;
    bit [15:0] dst;
    bit [3:0] lane;      // first one used in the first beat
    bit [12:0] left;     // granules; of fetch: beats
  } note_t;

  note_t notes[NOTES];
  note_t asked, next_note, now;
  bit [3:0] first;
  bit [4:0] count;
  bit now_valid, now_done, advance;

  // the walk over the instruction's rows
  isa_pkg::load_t load;
  bit active;
  bit [15:0] left, rows_left, planes_left, dst, row_dst, plane_dst;
  bit [31:0] address, row_address, plane_address;
  bit [12:0] to_boundary, granules;
  bit row_done, plane_done, all_done, free, issue_load;
  bit [3:0] lane;

  always_comb begin
    free = (!ar_valid || ar_ready) && count < 5'(NOTES - 1);
    fetch_granted = free && fetch_request;
    issue_load = free && !fetch_request && active;
    to_boundary = 13'((32'd4096 - {20'd0, address[11:0]}) >> R);
    granules = left < 16'(to_boundary) ? left[12:0] : to_boundary;
    lane = 4'((address & 32'(BUS_BYTES - 1)) >> R);
    row_done = left == 16'(granules);
    plane_done = row_done && rows_left == 1;
    all_done = plane_done && planes_left == 1;
    take = head_valid && head_ready && (!active || (issue_load && all_done));
    asked.is_fetch = fetch_granted;
    asked.last = all_done;
    asked.give = load.give;
    asked.target = load.target;
    asked.dst = dst;
    asked.lane = lane;
    asked.left = fetch_granted ? 13'(32'(fetch_instructions) * (64 / BUS_BYTES)) : granules;
  end

  always_ff @(posedge clk) begin
    if (ar_ready) ar_valid <= 0;
    if (fetch_granted) begin
      ar_valid <= 1;
      ar_address <= fetch_address & ~32'(BUS_BYTES - 1);
      ar_beats <= 9'(32'(fetch_instructions) * (64 / BUS_BYTES));
    end
    if (issue_load) begin
      ar_valid <= 1;
      ar_address <= address & ~32'(BUS_BYTES - 1);
      ar_beats <= 9'((32'(lane) + 32'(granules) + LANES - 1) / LANES);
      left <= left - 16'(granules);
      address <= address + (32'(granules) << R);
      dst <= dst + 16'(granules);
      if (row_done) begin
        left <= load.granules;
        rows_left <= rows_left - 16'd1;
        address <= row_address + load.dram_y;
        row_address <= row_address + load.dram_y;
        dst <= row_dst + load.dst_y;
        row_dst <= row_dst + load.dst_y;
      end
      if (plane_done) begin
        rows_left <= load.y_count;
        planes_left <= planes_left - 16'd1;
        address <= plane_address + load.dram_z;
        row_address <= plane_address + load.dram_z;
        plane_address <= plane_address + load.dram_z;
        dst <= plane_dst + load.dst_z;
        row_dst <= plane_dst + load.dst_z;
        plane_dst <= plane_dst + load.dst_z;
      end
      if (all_done) active <= 0;
    end
    if (take) begin
      active <= 1;
      load <= head;
      left <= head.granules;
      rows_left <= head.y_count;
      planes_left <= head.z_count;
      address <= head.dram;
      row_address <= head.dram;
      plane_address <= head.dram;
      dst <= head.dst;
      row_dst <= head.dst;
      plane_dst <= head.dst;
    end
    if (reset) begin
      active <= 0;
      ar_valid <= 0;
    end
  end

  // the data side: `now` is the burst whose data come
  always_comb begin
    now_done = r_valid && (now.is_fetch ? now.left == 1 : 32'(now.left) + 32'(now.lane) <= LANES);
    advance = (!now_valid || now_done) && count != 0;
    next_note = notes[first];
    fetch_beat = r_valid && now.is_fetch;
    write_target = now.target;
    write_address = now.dst - 16'(now.lane);
    for (int k = 0; k < LANES; k++)
      write[k] = r_valid && !now.is_fetch && k >= 32'(now.lane) && k < 32'(now.lane) + 32'(now.left);
    give = now_done && !now.is_fetch && now.last;
    given = now.give;
    idle = !active && !now_valid && count == 0;
    expecting_weights = now_valid && !now.is_fetch && now.target != isa_pkg::TARGET_INPUT;
  end
  always_ff @(posedge clk) begin
    if (fetch_granted || issue_load) notes[first+count[3:0]] <= asked;
    count <= count + 5'(fetch_granted || issue_load) - 5'(advance);
    if (r_valid) begin
      if (now.is_fetch) now.left <= now.left - 13'd1;
      else begin
        now.left <= now.left - 13'(LANES - 32'(now.lane));
        now.dst <= now.dst + 16'(LANES - 32'(now.lane));
        now.lane <= 0;
      end
    end
    if (advance) begin
      now <= next_note;
      first <= first + 4'd1;
    end
    now_valid <= advance || (now_valid && !now_done);
    if (reset) begin
      first <= 0;
      count <= 0;
      now_valid <= 0;
    end
  end
endmodule
