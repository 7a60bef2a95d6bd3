// Writes an increasing number to a raw partition, waits until the disk says it is safe, and only then says "ack N" on the
// console. At start it says "found N", the highest number on the disk. So whoever watched the console before a power cut
// knows which number must be found after it.
//
//   writer DEVICE [WRITES PER SECOND] [SAY EVERY Nth]
//
// Sixteen slots of 4 KiB are used in turn: a torn write spoils only the number that was not acknowledged.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { slots = 16, slot_size = 4096 };
static const char magic[8] = "drover1";

struct slot {
  char magic[8];
  uint64_t number, check;
};

static uint64_t check_of(uint64_t number) { return number * 0x9E3779B97F4A7C15u ^ 0x64726f766572u; }

static uint64_t found(int disk, char *buffer) {
  uint64_t highest = 0;
  for (int i = 0; i < slots; i++) {
    struct slot slot;
    if (pread(disk, buffer, slot_size, (off_t)i * slot_size) != slot_size) exit(2);
    memcpy(&slot, buffer, sizeof slot);
    if (!memcmp(slot.magic, magic, sizeof magic) && slot.check == check_of(slot.number) && slot.number > highest)
      highest = slot.number;
  }
  return highest;
}

int main(int count, char **arguments) {
  if (count < 2) return 1;
  unsigned rate = count > 2 ? atoi(arguments[2]) : 20, every = count > 3 ? atoi(arguments[3]) : 10;
  int disk = open(arguments[1], O_RDWR | O_DIRECT | O_DSYNC);
  if (disk < 0) return 2;
  char *buffer = aligned_alloc(slot_size, slot_size);
  setvbuf(stdout, NULL, _IOLBF, 0);

  uint64_t number = found(disk, buffer);
  printf("found %" PRIu64 "\n", number);
  for (;;) {
    struct slot slot = {.number = ++number, .check = check_of(number)};
    memcpy(slot.magic, magic, sizeof magic);
    memset(buffer, 0, slot_size);
    memcpy(buffer, &slot, sizeof slot);
    while (pwrite(disk, buffer, slot_size, (off_t)(number % slots) * slot_size) != slot_size || fdatasync(disk)) {
      printf("write failed: %s\n", strerror(errno));
      sleep(1);
    }
    if (number % every == 0) printf("ack %" PRIu64 "\n", number);
    usleep(1000000 / rate);
  }
}
