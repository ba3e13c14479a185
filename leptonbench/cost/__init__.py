"""What a million answers cost, rented or owned: pure functions of prices, power, throughput and use."""
