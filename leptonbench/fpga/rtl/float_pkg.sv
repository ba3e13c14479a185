// The float32 arithmetic of the drain unit, as functions of one pipeline stage each. Rounding is half to even, once a
// function that says so. Subnormal operands count as zero. There are no infinities and no NaN: exponents are wider inside, and
// what is too large saturates where it becomes an integer.
package float_pkg;

  // A number: (-1)^sign * mantissa * 2^(exponent - 23), the mantissa's bit 23 set, or zero with mantissa 0.
  typedef struct packed {
    bit sign;
    bit signed [10:0] exponent;
    bit [23:0] mantissa;
  } number_t;

  // A sum or product before it is rounded: (-1)^sign * magnitude * 2^exponent; bit 0 may be sticky.
  typedef struct packed {
    bit sign;
    bit signed [10:0] exponent;
    bit [63:0] magnitude;
  } exact_t;

  // Two terms with one exponent.
  typedef struct packed {
    bit sign_a;
    bit sign_b;
    bit signed [10:0] exponent;
    bit [63:0] a;
    bit [63:0] b;
  } terms_t;

  function automatic number_t unpack(input bit [31:0] bits);
    unpack.sign = bits[31];
    unpack.exponent = $signed({3'd0, bits[30:23]}) - 11'sd127;
    unpack.mantissa = bits[30:23] == 0 ? 24'd0 : {1'b1, bits[22:0]};
  endfunction

  // Shift the magnitude up until its highest bit is bit 63.
  function automatic exact_t normalise(input exact_t value);
    bit [63:0] m;
    bit [6:0] zeros;
    m = value.magnitude;
    zeros = 0;
    if (m[63:32] == 0) begin zeros = zeros + 7'd32; m = m << 32; end
    if (m[63:48] == 0) begin zeros = zeros + 7'd16; m = m << 16; end
    if (m[63:56] == 0) begin zeros = zeros + 7'd8; m = m << 8; end
    if (m[63:60] == 0) begin zeros = zeros + 7'd4; m = m << 4; end
    if (m[63:62] == 0) begin zeros = zeros + 7'd2; m = m << 2; end
    if (!m[63]) begin zeros = zeros + 7'd1; m = m << 1; end
    normalise.sign = value.sign;
    normalise.exponent = value.exponent - $signed({4'd0, zeros});
    normalise.magnitude = m;
  endfunction

  // Round a normalised value to 24 bits.
  function automatic number_t round(input exact_t value);
    bit up;
    bit [24:0] rounded;
    up = value.magnitude[39] && (value.magnitude[38:0] != 0 || value.magnitude[40]);
    rounded = {1'b0, value.magnitude[63:40]} + 25'(up);
    round.sign = value.sign;
    round.exponent = value.exponent + 11'sd63 + 11'(rounded[24]);
    round.mantissa = rounded[24] ? 24'h800000 : rounded[23:0];
  endfunction

  function automatic exact_t of_int(input int value);
    of_int.sign = value < 0;
    of_int.exponent = 0;
    of_int.magnitude = {32'd0, value < 0 ? -value : value};
  endfunction

  function automatic exact_t multiply(input number_t a, input number_t b);
    multiply.sign = a.sign ^ b.sign;
    multiply.exponent = a.exponent + b.exponent - 11'sd46;
    multiply.magnitude = 64'(a.mantissa) * 64'(b.mantissa);
  endfunction

  // Round a product: its highest bit is bit 47 or 46, unless it is zero.
  function automatic number_t round_product(input exact_t product);
    exact_t normal;
    normal.sign = product.sign;
    normal.exponent = product.exponent - (product.magnitude[47] ? 11'sd16 : 11'sd17);
    normal.magnitude = product.magnitude[47] ? product.magnitude << 16 : product.magnitude << 17;
    return round(normal);
  endfunction

  // |value| * factor.mantissa: exact.
  function automatic bit [32:0] scale_up(input bit signed [8:0] value, input number_t factor);
    bit [8:0] magnitude;
    magnitude = value < 0 ? -value : value;
    return 33'(magnitude) * 33'(factor.mantissa);
  endfunction

  // product = |value| * factor.mantissa and an addend, brought to one exponent with 26 bits below the lower mantissa's end. Where
  // one is so small that bits fall off, they stay as a sticky bit: the other is then at least 2^16 times as large, so that
  // nothing cancels.
  function automatic terms_t align(
      input bit negative, input bit [32:0] product, input number_t factor, input number_t addend
  );
    bit signed [10:0] distance;
    align.a = 64'(product) << 26;
    align.b = 64'(addend.mantissa) << 26;
    align.sign_a = factor.sign ^ negative;
    align.sign_b = addend.sign;
    distance = factor.exponent - addend.exponent;
    if (product == 0 || (addend.mantissa != 0 && distance < 0)) align.exponent = addend.exponent - 11'sd49;
    else align.exponent = factor.exponent - 11'sd49;
    if (product != 0 && distance < 0) align.a = addend.mantissa == 0 ? align.a : shift_sticky(align.a, -distance);
    if (product != 0 && distance >= 0) align.b = shift_sticky(align.b, distance);
  endfunction

  function automatic bit [63:0] shift_sticky(input bit [63:0] value, input bit signed [10:0] by);
    bit [63:0] kept;
    kept = by > 63 ? 64'd0 : value >> by[5:0];
    return kept | 64'(by > 63 ? value != 0 : (kept << by[5:0]) != value);
  endfunction

  function automatic exact_t add(input terms_t from);
    bit [63:0] sum;
    bit signed_sum;
    sum = from.sign_a == from.sign_b ? from.a + from.b : from.a - from.b;
    signed_sum = from.sign_a != from.sign_b && from.a < from.b;
    add.sign = from.sign_a ^ signed_sum;
    add.exponent = from.exponent;
    add.magnitude = signed_sum ? -sum : sum;
  endfunction

  // Round to an integer, and saturate at +-32767.
  function automatic bit signed [16:0] to_int(input number_t value);
    bit [4:0] shift;
    bit [23:0] whole, rest, half;
    bit [15:0] magnitude;
    shift = 5'(11'sd23 - value.exponent);
    whole = value.mantissa >> shift;
    rest = value.mantissa & ~(24'hffffff << shift);
    half = 24'd1 << (shift - 5'd1);
    magnitude = whole[15:0] + 16'(rest > half || (rest == half && whole[0]));
    if (value.exponent < -11'sd1) magnitude = 0;
    if (value.exponent > 11'sd14) magnitude = 16'd32767;
    if (value.mantissa == 0) magnitude = 0;
    return value.sign ? -17'(magnitude) : 17'(magnitude);
  endfunction
endpackage
