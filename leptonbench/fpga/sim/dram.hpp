// DRAM as the core sees it: a latency, and channels that carry so many bytes a cycle.
//
// Each channel serves its own beats in order, reads and writes in turn where both wait; across channels, beats overtake
// one another as in a controller that reorders. Data go back in the order of the requests, as AXI demands: a read beat
// `latency` cycles after it was served at the earliest, and a write is acknowledged that long after its last beat was.
// Time is kept in 1/1024 cycles, so that bandwidth need not be a divisor of the beat.
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
  uint32_t read_queue;           // beats that may wait; a burst is taken while there are fewer
  uint32_t write_queue;          // beats that may wait
};

class Dram {
 public:
  Dram(uint8_t* memory, uint64_t size, uint32_t beat_bytes)
      : memory_(memory), size_(size), beat_bytes_(beat_bytes), zeros_(beat_bytes, 0) {}

  void start(const DramSettings& settings) {
    settings_ = settings;
    const uint64_t per_channel = std::max<uint64_t>(1, settings.bytes_per_kilocycle / settings.channels);
    beat_cost_ = std::max<uint64_t>(1, uint64_t{beat_bytes_} * 1024 * 1024 / per_channel);
    channels_.assign(settings.channels, Channel{});
    reads_.clear();
    writes_.clear();
    first_read_ = first_write_ = waiting_reads_ = waiting_writes_ = open_write_ = 0;
    outside_ = false;
  }

  bool can_read() const { return waiting_reads_ < settings_.read_queue; }
  bool can_write_address() const { return writes_.size() < 16; }
  bool can_write_data() const { return waiting_writes_ < settings_.write_queue; }
  bool idle() const { return reads_.empty() && writes_.empty(); }
  bool outside() const { return outside_; }  // something was written or read beyond the memory

  // Fetch runs up to 1 KiB ahead, past the program's end; reads beyond the memory by no more are zeros.
  void read(uint32_t address, uint32_t beats) {
    outside_ |= uint64_t{address} + uint64_t{beats} * beat_bytes_ > size_ + 1024;
    for (; beats > 0; beats--, address += beat_bytes_) {
      channel_of(address).reads.push_back(first_read_ + reads_.size());
      reads_.push_back({address, kNever});
      waiting_reads_++;
    }
  }

  void write_address(uint32_t address, uint32_t beats) { writes_.push_back({address, beats, beats, 0}); }

  // The next beat of the oldest burst whose data are not complete.
  void write_data(const uint32_t* data, uint64_t mask, uint32_t granule_bytes) {
    Write& burst = writes_[open_write_ - first_write_];
    if (uint64_t{burst.address} + beat_bytes_ > size_) {
      outside_ = true;
    } else {
      const uint8_t* bytes = reinterpret_cast<const uint8_t*>(data);
      for (uint32_t at = 0; at < beat_bytes_; at += granule_bytes, mask >>= 1)
        if (mask & 1) std::memcpy(memory_ + burst.address + at, bytes + at, granule_bytes);
    }
    channel_of(burst.address).writes.push_back(open_write_);
    waiting_writes_++;
    burst.address += beat_bytes_;
    if (--burst.to_come == 0) open_write_++;
  }

  // Serve what the channels have room for in this cycle.
  void tick(uint64_t now) {
    if (waiting_reads_ + waiting_writes_ == 0) return;
    for (Channel& channel : channels_)
      while (channel.free_at < (now + 1) * 1024 && !(channel.reads.empty() && channel.writes.empty())) serve(channel, now);
  }

  bool data_ready(uint64_t now) const { return !reads_.empty() && reads_.front().ready <= now; }
  const uint8_t* take_data() {
    const uint32_t address = reads_.front().address;
    reads_.pop_front();
    first_read_++;
    return uint64_t{address} + beat_bytes_ <= size_ ? memory_ + address : zeros_.data();
  }
  bool take_acknowledgement(uint64_t now) {
    if (writes_.empty() || writes_.front().to_serve != 0 || writes_.front().ready > now) return false;
    writes_.pop_front();
    first_write_++;
    return true;
  }

 private:
  static constexpr uint64_t kNever = ~uint64_t{0};
  struct Read { uint32_t address; uint64_t ready; };
  struct Write { uint32_t address, to_come, to_serve; uint64_t ready; };
  struct Channel {
    uint64_t free_at = 0;
    bool read_turn = true;
    std::deque<uint64_t> reads, writes;  // numbers of beats, and of the bursts that beats belong to
  };

  Channel& channel_of(uint32_t address) { return channels_[address / settings_.interleave_bytes % settings_.channels]; }

  void serve(Channel& channel, uint64_t now) {
    const bool read = channel.writes.empty() || (!channel.reads.empty() && channel.read_turn);
    const uint64_t ready = now + 1 + settings_.latency_cycles;
    channel.free_at = std::max(channel.free_at, now * 1024) + beat_cost_;
    channel.read_turn = !read;
    if (read) {
      reads_[channel.reads.front() - first_read_].ready = ready;
      channel.reads.pop_front();
      waiting_reads_--;
    } else {
      Write& burst = writes_[channel.writes.front() - first_write_];
      burst.ready = std::max(burst.ready, ready);
      burst.to_serve--;
      channel.writes.pop_front();
      waiting_writes_--;
    }
  }

  uint8_t* memory_;
  uint64_t size_;
  uint32_t beat_bytes_;
  std::vector<uint8_t> zeros_;
  DramSettings settings_{};
  uint64_t beat_cost_ = 1;
  std::vector<Channel> channels_;
  std::deque<Read> reads_;    // from the one whose data go back next
  std::deque<Write> writes_;  // bursts, from the one that is acknowledged next
  uint64_t first_read_ = 0, first_write_ = 0, open_write_ = 0;
  uint64_t waiting_reads_ = 0, waiting_writes_ = 0;
  bool outside_ = false;
};
