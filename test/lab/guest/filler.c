// Takes up a thin disk as fast as it can, for tests of how such a disk grows: one sector of every piece of STEP KiB is
// written, from the beginning to the end and again. Says "filled N MiB" after every SAY MiB that a pass has come past.
// A write waits for as long as the disk lets it wait; one that fails is said, and ends it.
//
//   filler DEVICE [STEP KIB] [SAY MIB]
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int count, char **arguments) {
  if (count < 2) return 1;
  long step = (count > 2 ? atol(arguments[2]) : 64) << 10, say = (count > 3 ? atol(arguments[3]) : 256) << 20;
  int disk = open(arguments[1], O_RDWR | O_DIRECT);
  if (disk < 0) return 2;
  off_t size = lseek(disk, 0, SEEK_END);
  char *buffer = aligned_alloc(4096, 4096);
  memset(buffer, 'd', 4096);
  setvbuf(stdout, NULL, _IOLBF, 0);
  for (;;) {
    for (off_t at = 0; at + 4096 <= size; at += step) {
      if (pwrite(disk, buffer, 4096, at) != 4096) {
        printf("filler failed at %ld: %s\n", (long)at, strerror(errno));
        return 3;
      }
      if ((at + step) / say > at / say) printf("filled %ld MiB\n", (long)((at + step) >> 20));
    }
    printf("filled it all\n");
    sleep(1);
  }
}
