/* sanlock stops when it cannot raise RLIMIT_MEMLOCK, which needs CAP_SYS_RESOURCE; machines in containers lack it.
   Loaded with LD_PRELOAD, this says that it worked. Lab only. */
#include <sys/resource.h>

int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit) {
  (void)resource;
  (void)limit;
  return 0;
}
