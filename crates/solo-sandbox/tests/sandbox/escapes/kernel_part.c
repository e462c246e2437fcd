/* Reaches a part of the kernel that has had many holes. */
#include "escape.h"
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
int main(int argc, char **argv) {
  const char *way = argv[1];
  long done = -1;
  if (!strcmp(way, "keyctl")) {
    done = syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 1);
  } else if (!strcmp(way, "add_key")) {
    done = syscall(SYS_add_key, "user", "solo-test", "x", 1, KEY_SPEC_PROCESS_KEYRING);
  } else if (!strcmp(way, "request_key")) {
    done = syscall(SYS_request_key, "user", "solo-none", NULL, KEY_SPEC_PROCESS_KEYRING);
    /* It looked for it everywhere. */
    if (done < 0 && errno == ENOKEY) out(way);
  } else if (!strcmp(way, "bpf")) {
    /* One that was never for everybody, however the machine is set. */
    union bpf_attr map = {.map_type = BPF_MAP_TYPE_QUEUE, .value_size = 4, .max_entries = 1};
    done = syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof map);
  } else if (!strcmp(way, "userfaultfd")) {
    done = syscall(SYS_userfaultfd, 1 /* UFFD_USER_MODE_ONLY */ | O_CLOEXEC);
  } else if (!strcmp(way, "io_uring")) {
    struct io_uring_params parameters = {0};
    done = syscall(SYS_io_uring_setup, 4, &parameters);
  } else if (!strcmp(way, "perf")) {
    struct perf_event_attr event = {.type = PERF_TYPE_SOFTWARE,
                                    .size = sizeof event,
                                    .config = PERF_COUNT_SW_CPU_CLOCK,
                                    .exclude_kernel = 1,
                                    .exclude_hv = 1};
    done = syscall(SYS_perf_event_open, &event, 0, -1, -1, 0);
  } else {
    mistake(way);
  }
  judge(way, done);
}
