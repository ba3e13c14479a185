// The token counters: one for each pair of units (from, to). Units are LOAD 0, EXEC 1, DRAIN 2, STORE 3.
module tokens (
    input bit clk,
    input bit reset,
    input bit [15:0] want,   // nibble u: units that unit u's next instruction takes a token from
    input bit [3:0] take,    // unit u takes them
    input bit [3:0] give,    // unit u gives tokens ...
    input bit [15:0] given,  // ... to the units in nibble u
    output bit [3:0] ready,  // unit u could take
    output bit [15:0] present,  // bit 4 * to + from: there is at least one
    output bit overflow      // a counter was given more than it can hold; sticky
);
  bit [5:0] counter[16];  // [4 * to + from]

  always_comb for (int u = 0; u < 4; u++) ready[u] = (want[4*u+:4] & ~present[4*u+:4]) == 0;

  always_ff @(posedge clk) begin
    if (take != 0 || give != 0)
      for (int to = 0; to < 4; to++)
        for (int from = 0; from < 4; from++) begin
          bit plus, minus;
          plus = give[from] && given[4*from+to];
          minus = take[to] && want[4*to+from];
          if (plus && !minus && counter[4*to+from] == 6'd63) overflow <= 1;
          counter[4*to+from] = counter[4*to+from] + 6'(plus) - 6'(minus);
          present[4*to+from] <= counter[4*to+from] != 0;
        end
    if (reset) begin
      for (int i = 0; i < 16; i++) counter[i] = 0;
      present <= 0;
      overflow <= 0;
    end
  end
endmodule
