// DRAM as the core sees it: requests in order, a latency, and channels that carry so many bytes a cycle.
//
// A beat is served when its channel is free; reads and writes that wait for the same channel take turns. A read beat is back
// `latency` cycles after it was served, a write is acknowledged that long after its last beat. Time is kept in 1/1024
// cycles, so that bandwidth need not be a divisor of the beat.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <vector>

struct DramSettings {
  uint32_t latency_cycles;
  uint32_t bytes_per_kilocycle;  // per 1024 cycles, of all channels together
  uint32_t channels;
  uint32_t interleave_bytes;     // consecutive bytes on one channel
  uint32_t read_queue;           // bursts
  uint32_t write_queue;          // beats
};

class Dram {
 public:
  Dram(uint8_t* memory, uint64_t size, uint32_t beat_bytes)
      : memory_(memory), size_(size), beat_bytes_(beat_bytes), zeros_(beat_bytes, 0) {}

  void start(const DramSettings& settings) {
    settings_ = settings;
    const uint64_t per_channel = std::max<uint64_t>(1, settings.bytes_per_kilocycle / settings.channels);
    beat_cost_ = std::max<uint64_t>(1, uint64_t{beat_bytes_} * 1024 * 1024 / per_channel);
    free_at_.assign(settings.channels, 0);
    reads_.clear();
    returning_.clear();
    write_bursts_.clear();
    write_beats_.clear();
    acknowledgements_.clear();
    read_turn_ = true;
    outside_ = false;
  }

  bool can_read() const { return reads_.size() < settings_.read_queue; }
  bool can_write_address() const { return write_bursts_.size() < settings_.read_queue; }
  bool can_write_data() const { return write_beats_.size() < settings_.write_queue; }
  bool idle() const { return reads_.empty() && returning_.empty() && write_beats_.empty() && acknowledgements_.empty(); }
  bool outside() const { return outside_; }  // a write beyond the memory

  void read(uint32_t address, uint32_t beats) { reads_.push_back({address, beats}); }
  void write_address(uint32_t address, uint32_t beats) { write_bursts_.push_back({address, beats}); }

  void write_data(const uint32_t* data, uint64_t mask, uint32_t granule_bytes) {
    Burst& burst = write_bursts_.front();
    if (uint64_t{burst.address} + beat_bytes_ > size_) {
      outside_ = true;
    } else {
      const uint8_t* bytes = reinterpret_cast<const uint8_t*>(data);
      for (uint32_t at = 0; at < beat_bytes_; at += granule_bytes, mask >>= 1)
        if (mask & 1) std::memcpy(memory_ + burst.address + at, bytes + at, granule_bytes);
    }
    write_beats_.push_back({burst.address, burst.beats == 1});
    burst.address += beat_bytes_;
    if (--burst.beats == 0) write_bursts_.pop_front();
  }

  // Serve what the channels have room for in this cycle.
  void tick(uint64_t now) {
    while (!reads_.empty() || !write_beats_.empty()) {
      const bool read = write_beats_.empty() || (!reads_.empty() && read_turn_);
      if (!serve(read, now) && !serve(!read, now)) return;
    }
  }

  bool data_ready(uint64_t now) const { return !returning_.empty() && returning_.front().ready <= now; }
  const uint8_t* take_data() {
    const uint32_t address = returning_.front().address;
    returning_.pop_front();
    return uint64_t{address} + beat_bytes_ <= size_ ? memory_ + address : zeros_.data();
  }
  bool take_acknowledgement(uint64_t now) {
    if (acknowledgements_.empty() || acknowledgements_.front() > now) return false;
    acknowledgements_.pop_front();
    return true;
  }

 private:
  struct Burst { uint32_t address, beats; };
  struct Beat { uint32_t address; bool last; };
  struct Returning { uint32_t address; uint64_t ready; };

  bool serve(bool read, uint64_t now) {
    if (read ? reads_.empty() : write_beats_.empty()) return false;
    const uint32_t address = read ? reads_.front().address : write_beats_.front().address;
    uint64_t& free_at = free_at_[address / settings_.interleave_bytes % settings_.channels];
    if (free_at >= (now + 1) * 1024) return false;
    free_at = std::max(free_at, now * 1024) + beat_cost_;
    read_turn_ = !read;
    const uint64_t ready = now + 1 + settings_.latency_cycles;
    if (read) {
      returning_.push_back({address, ready});
      reads_.front().address += beat_bytes_;
      if (--reads_.front().beats == 0) reads_.pop_front();
    } else {
      if (write_beats_.front().last) acknowledgements_.push_back(ready);
      write_beats_.pop_front();
    }
    return true;
  }

  uint8_t* memory_;
  uint64_t size_;
  uint32_t beat_bytes_;
  std::vector<uint8_t> zeros_;
  DramSettings settings_{};
  uint64_t beat_cost_ = 1;
  std::vector<uint64_t> free_at_;
  std::deque<Burst> reads_, write_bursts_;
  std::deque<Beat> write_beats_;
  std::deque<Returning> returning_;
  std::deque<uint64_t> acknowledgements_;
  bool read_turn_ = true;
  bool outside_ = false;
};
