// A memory of granules in BANKS block RAMs: up to WRITES consecutive granules written and READS read a cycle, from any
// granule on. Addresses wrap. Data read appear one cycle later and stay until the next read.
module banked_ram #(
    parameter int GRANULE_BITS = 128,
    parameter int GRANULES = 8192,  // a power of two
    parameter int BANKS = 4,        // a power of two, at least WRITES and READS
    parameter int WRITES = 4,
    parameter int READS = 1
) (
    input bit clk,
    input bit [WRITES-1:0] write,  // lane k goes to granule write_address + k
    input bit [15:0] write_address,
    input bit [WRITES*GRANULE_BITS-1:0] write_data,
    input bit read,
    input bit [15:0] read_address,
    output bit [READS*GRANULE_BITS-1:0] read_data
);
  localparam int B = $clog2(BANKS);
  localparam int A = $clog2(GRANULES);
  localparam int DEPTH = GRANULES / BANKS;

  if (BANKS == 1) begin : g_one
    bit [GRANULE_BITS-1:0] memory[DEPTH];
    always_ff @(posedge clk) begin
      if (write[0]) memory[write_address[A-1:0]] <= write_data[GRANULE_BITS-1:0];
      if (read) read_data <= memory[read_address[A-1:0]];
    end
  end else begin : g_many
    bit [BANKS*GRANULE_BITS-1:0] word;
    bit [B-1:0] rotation;
    for (genvar b = 0; b < BANKS; b++) begin : g_bank
      bit [GRANULE_BITS-1:0] memory[DEPTH];
      bit [B-1:0] write_lane, read_lane;  // which lane this bank serves
      bit [A-B-1:0] write_row, read_row;
      always_comb begin
        write_lane = B'(b) - write_address[B-1:0];
        read_lane = B'(b) - read_address[B-1:0];
        write_row = write_address[A-1:B] + (A-B)'(B'(b) < write_address[B-1:0]);
        read_row = read_address[A-1:B] + (A-B)'(B'(b) < read_address[B-1:0]);
      end
      always_ff @(posedge clk) begin
        if (32'(write_lane) < WRITES && write[write_lane])
          memory[write_row] <= write_data[32'(write_lane)*GRANULE_BITS+:GRANULE_BITS];
        if (read && 32'(read_lane) < READS) word[b*GRANULE_BITS+:GRANULE_BITS] <= memory[read_row];
      end
    end
    always_ff @(posedge clk) if (read) rotation <= read_address[B-1:0];
    always_comb begin
      for (int k = 0; k < READS; k++)
        read_data[k*GRANULE_BITS+:GRANULE_BITS] = word[32'(B'(32'(rotation) + k))*GRANULE_BITS+:GRANULE_BITS];
    end
  end
endmodule
