// 256 bytes that every lane can look up at once. They come in beats, and are copied a byte a cycle into the memory that the
// lanes read (in hardware, a small memory a lane).
module lookup_table #(
    parameter int ROWS = 16,
    parameter int COLS = 16,
    parameter int BUS_BYTES = 64
) (
    input bit clk,
    input bit reset,
    input bit [BUS_BYTES/ROWS-1:0] write,
    input bit [15:0] write_address,
    input bit [BUS_BYTES*8-1:0] write_data,
    input bit lookup,
    input bit [COLS*8-1:0] index,
    output bit [COLS*8-1:0] entry,
    output bit busy
);
  localparam int GRANULES = 256 / ROWS;
  localparam int LANES = BUS_BYTES / ROWS;
  bit [ROWS*8-1:0] staged;
  bit [7:0] entries[256];
  bit [15:0] at;
  bit reading, staged_valid;
  bit [$clog2(ROWS)-1:0] byte_at;
  bit [15:0] granule;

  banked_ram #(
      .GRANULE_BITS(ROWS * 8),
      .GRANULES(GRANULES),
      .BANKS(LANES),
      .WRITES(LANES),
      .READS(1)
  ) staging (
      .clk,
      .write,
      .write_address,
      .write_data,
      .read(reading),
      .read_address(granule),
      .read_data(staged)
  );

  always_comb begin
    reading = busy && byte_at == 0 && !staged_valid;
    granule = at >> $clog2(ROWS);
  end
  always_ff @(posedge clk) begin
    if (lookup) for (int c = 0; c < COLS; c++) entry[8*c+:8] <= entries[index[8*c+:8]];
    if (reading) staged_valid <= 1;
    if (staged_valid) begin
      entries[at[7:0]] <= staged[8*32'(byte_at)+:8];
      at <= at + 16'd1;
      byte_at <= byte_at + 1;
      if (32'(byte_at) == ROWS - 1) staged_valid <= 0;
      if (at == 255) busy <= 0;
    end
    if (write != 0) begin  // begin anew with each beat: the last one leaves the whole table to copy
      busy <= 1;
      at <= 0;
      byte_at <= 0;
      staged_valid <= 0;
    end
    if (reset) begin
      busy <= 0;
      staged_valid <= 0;
    end
  end
endmodule
