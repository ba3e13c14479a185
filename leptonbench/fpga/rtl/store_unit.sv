// The store unit: copies rows of the output buffer to DRAM, in bursts inside 4096 aligned bytes.
module store_unit #(
    parameter int ROWS = 16,
    parameter int SLICES = 1,
    parameter int BUS_BYTES = 64
) (
    input bit clk,
    input bit reset,
    input bit head_valid,
    input bit head_ready,
    input isa_pkg::store_t head,
    output bit take,
    // output buffer: BUS_BYTES from a granule on, a cycle later
    output bit read,
    output bit [15:0] read_address,
    input bit [SLICES*BUS_BYTES*8-1:0] read_data,  // of each slice
    // bus
    output bit aw_valid,
    output bit [31:0] aw_address,
    output bit [8:0] aw_beats,
    input bit aw_ready,
    output bit w_valid,
    output bit [BUS_BYTES*8-1:0] w_data,
    output bit [BUS_BYTES/ROWS-1:0] w_mask,  // a bit a granule
    input bit w_ready,
    input bit b_valid,  // a burst is in DRAM; in order
    output bit give,
    output bit [3:0] given,
    output bit stamp_valid,
    output bit [15:0] stamp,
    output bit idle
);
  localparam int LANES = BUS_BYTES / ROWS;
  localparam int R = $clog2(ROWS);
  localparam int NOTES = 16;

  typedef struct packed {
    bit last;
    bit [3:0] give;
    bit [15:0] stamp;
  } note_t;
  note_t notes[NOTES];
  note_t done;
  bit [3:0] first;
  bit [4:0] count;

  isa_pkg::store_t store;
  bit active, streaming;
  bit [15:0] left, rows_left, planes_left, src, row_src, plane_src;
  bit [31:0] address, row_address, plane_address;
  bit [12:0] to_boundary, granules;
  bit row_done, plane_done, all_done, request;
  bit [3:0] lane;
  // the burst that is streaming
  bit [12:0] burst_left;
  bit [15:0] burst_src;
  bit [3:0] burst_lane, burst_slice, data_slice;
  bit beat, burst_done;

  always_comb begin
    to_boundary = 13'((32'd4096 - {20'd0, address[11:0]}) >> R);
    granules = left < 16'(to_boundary) ? left[12:0] : to_boundary;
    lane = 4'((address & 32'(BUS_BYTES - 1)) >> R);
    row_done = left == 16'(granules);
    plane_done = row_done && rows_left == 1;
    all_done = plane_done && planes_left == 1;
    beat = streaming && (!w_valid || w_ready);
    burst_done = beat && 32'(burst_left) + 32'(burst_lane) <= LANES;
    // A burst's address goes out when the data of the one before are done, so that data never come before their address.
    request = active && (!streaming || burst_done) && (!aw_valid || aw_ready) && count < 5'(NOTES - 1);
    take = head_valid && head_ready && (!active || (request && all_done));
    read = beat;
    read_address = burst_src - 16'(burst_lane);
    w_data = read_data[32'(data_slice)*BUS_BYTES*8+:BUS_BYTES*8];
    done = notes[first];
    give = b_valid && done.last;
    given = done.give;
    stamp_valid = give && done.stamp != 0;
    stamp = done.stamp;
    idle = !active && !streaming && !w_valid && !aw_valid && count == 0;
  end

  always_ff @(posedge clk) begin
    if (aw_ready) aw_valid <= 0;
    if (w_ready) w_valid <= 0;
    if (beat) begin
      w_valid <= 1;
      data_slice <= burst_slice;
      for (int k = 0; k < LANES; k++)
        w_mask[k] <= k >= 32'(burst_lane) && k < 32'(burst_lane) + 32'(burst_left);
      burst_left <= burst_left - 13'(LANES - 32'(burst_lane));
      burst_src <= burst_src + 16'(LANES - 32'(burst_lane));
      burst_lane <= 0;
      if (burst_done) streaming <= 0;
    end
    if (request) begin
      aw_valid <= 1;
      aw_address <= address & ~32'(BUS_BYTES - 1);
      aw_beats <= 9'((32'(lane) + 32'(granules) + LANES - 1) / LANES);
      streaming <= 1;
      burst_left <= granules;
      burst_src <= src;
      burst_lane <= lane;
      burst_slice <= store.slice;
      notes[first+count[3:0]] <= {all_done, store.give, store.stamp};
      left <= left - 16'(granules);
      address <= address + (32'(granules) << R);
      src <= src + 16'(granules);
      if (row_done) begin
        left <= store.granules;
        rows_left <= rows_left - 16'd1;
        address <= row_address + store.dram_y;
        row_address <= row_address + store.dram_y;
        src <= row_src + store.src_y;
        row_src <= row_src + store.src_y;
      end
      if (plane_done) begin
        rows_left <= store.y_count;
        planes_left <= planes_left - 16'd1;
        address <= plane_address + store.dram_z;
        row_address <= plane_address + store.dram_z;
        plane_address <= plane_address + store.dram_z;
        src <= plane_src + store.src_z;
        row_src <= plane_src + store.src_z;
        plane_src <= plane_src + store.src_z;
      end
      if (all_done) active <= 0;
    end
    if (take) begin
      active <= 1;
      store <= head;
      left <= head.granules;
      rows_left <= head.y_count;
      planes_left <= head.z_count;
      address <= head.dram;
      row_address <= head.dram;
      plane_address <= head.dram;
      src <= head.src;
      row_src <= head.src;
      plane_src <= head.src;
    end
    count <= count + 5'(request) - 5'(b_valid);
    if (b_valid) first <= first + 4'd1;
    if (reset) begin
      {active, streaming, aw_valid, w_valid} <= 0;
      first <= 0;
      count <= 0;
    end
  end
endmodule
