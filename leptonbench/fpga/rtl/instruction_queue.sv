// The instructions that wait for one unit, in order.
module instruction_queue #(
    parameter int BITS = 256
) (
    input bit clk,
    input bit reset,
    input bit push,
    input bit [BITS-1:0] pushed,
    input bit pop,
    output bit full,
    output bit valid,             // there is a head
    output bit [BITS-1:0] head,
    output bit [3:0] count
);
  localparam int DEPTH = 8;
  bit [BITS-1:0] entries[DEPTH];
  bit [2:0] first;

  always_comb begin
    full = count[3];
    valid = count != 0;
    head = entries[first];
  end
  always_ff @(posedge clk) begin
    if (push) entries[first+count[2:0]] <= pushed;
    if (pop) first <= first + 3'd1;
    count <= count + 4'(push) - 4'(pop);
    if (reset) begin
      first <= 0;
      count <= 0;
    end
  end
endmodule
