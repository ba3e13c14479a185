// The accumulator: two halves of int32 words, each one block RAM with a read and a write port. Execute reads, combines and
// writes back; drain reads whenever execute leaves the half's read port free.
//
// A tag is, from bit 0: 16 address, valid, half, 4 mode, fresh, second, 4 give, last, pad.
module accumulator #(
    parameter int COLS = 16,
    parameter int WORDS = 1024
) (
    input bit clk,
    input bit reset,
    input bit [31:0] tag,
    input bit [COLS*32-1:0] sums,  // a cycle after the tag
    output bit give,               // with the last word of an instruction written
    output bit [3:0] given,
    input bit drain_read,
    input bit drain_half,
    input bit [15:0] drain_address,
    output bit drain_granted,
    output bit [COLS*32-1:0] drain_word  // a cycle later
);
  localparam int A = $clog2(WORDS);
  bit [COLS*32-1:0] half_0[WORDS];
  bit [COLS*32-1:0] half_1[WORDS];
  bit [COLS*32-1:0] read_0, read_1, held, combined;
  bit [31:0] now;
  bit drained_half, exec_0, exec_1, drain_0, drain_1, write_0, write_1;
  bit [A-1:0] address_0, address_1;

  always_comb begin
    exec_0 = tag[16] && !tag[17];
    exec_1 = tag[16] && tag[17];
    drain_granted = drain_read && !(drain_half ? exec_1 : exec_0);
    drain_0 = drain_granted && !drain_half;
    drain_1 = drain_granted && drain_half;
    address_0 = exec_0 ? tag[A-1:0] : drain_address[A-1:0];
    address_1 = exec_1 ? tag[A-1:0] : drain_address[A-1:0];
    drain_word = drained_half ? read_1 : read_0;
    give = now[16] && now[28];
    given = now[27:24];
    write_0 = now[16] && !now[17];
    write_1 = now[16] && now[17];
  end

  // What each column becomes.
  always_comb begin
    held = now[17] ? read_1 : read_0;
    combined = sums;
    if (now[16])
      case (now[21:18])
        isa_pkg::EXEC_MAX:
        for (int c = 0; c < COLS; c++) begin
          int value, old;
          value = now[29] ? -32'sd32768 : sums[32*c+:32];
          old = held[32*c+:32];
          combined[32*c+:32] = now[22] || value > old ? value : old;
        end
        isa_pkg::EXEC_PAIR:
        for (int c = 0; c < COLS; c++)
          combined[32*c+:32] = now[23] ? {sums[32*c+:16], held[32*c+:16]} : {16'd0, sums[32*c+:16]};
        default: if (!now[22]) for (int c = 0; c < COLS; c++) combined[32*c+:32] = held[32*c+:32] + sums[32*c+:32];
      endcase
  end

  always_ff @(posedge clk) begin
    now <= reset ? 32'd0 : tag;
    if (drain_granted) drained_half <= drain_half;
    if (write_0) half_0[now[A-1:0]] <= combined;
    if (write_1) half_1[now[A-1:0]] <= combined;
    if (exec_0 || drain_0) read_0 <= half_0[address_0];
    if (exec_1 || drain_1) read_1 <= half_1[address_1];
  end
endmodule
