// device.h is all that vitserve wants of a GPU: memory, kernels and queues.
// Two drivers have it, CUDA and OpenCL; each is opened at run time by dlopen,
// so that the program starts where there is none. Nothing here knows what is
// computed.
#ifndef DEVICE_H
#define DEVICE_H
#include <stddef.h>
#include <stdint.h>

typedef struct device device;
typedef struct queue queue;

enum { DEVICE_MEMS = 12, DEVICE_BYTES = 512, DEVICE_NAME = 256 };
enum { DEVICE_LAUNCH, DEVICE_WRITE, DEVICE_READ };

// An operation of a queue. A launch passes memory and then, if there are any,
// bytes by value. A copy is of size bytes between host and byte `at` of
// mem[0]; the host's memory is pinned.
typedef struct {
  int32_t kind, kernel; // of the names that build was given
  uint32_t grid[3], threads, mems, bytes;
  uint64_t mem[DEVICE_MEMS]; // zero: none
  uint8_t params[DEVICE_BYTES];
  uint64_t host, at, size;
} device_op;

// What open says of a device.
typedef struct {
  char name[DEVICE_NAME];
  int32_t units; // multiprocessors
  uint64_t memory, largest; // bytes; of one piece of memory
} device_info;

enum { DEVICE_OK, DEVICE_ABSENT, DEVICE_UNSUPPORTED, DEVICE_NO_MEMORY, DEVICE_LOST, DEVICE_FAILED };

// Every function returns one of the codes above and leaves a sentence in err,
// which has room for DEVICE_ERR bytes. What gives something back has given it
// back whatever it returns.
enum { DEVICE_ERR = 8192 };

typedef struct {
  int (*count)(int *n, char *err);
  int (*open)(int ordinal, device **d, device_info *info, char *err);
  int (*close)(device *d, char *err);
  int (*alloc)(device *d, size_t bytes, uint64_t *mem, char *err);
  int (*free)(device *d, uint64_t mem, char *err);
  int (*pin)(device *d, size_t bytes, void **host, uint64_t *handle, char *err);
  int (*unpin)(device *d, void *host, uint64_t handle, char *err);
  int (*build)(device *d, const char *source, size_t n, const char **kernels, int count, char *err); // once
  int (*queue)(device *d, int priority, queue **q, char *err);
  int (*unqueue)(queue *q, char *err);
  int (*run)(queue *q, const device_op *ops, int n, char *err); // and waits
} driver;

extern const driver cuda_driver, opencl_driver;

// device_fail leaves a sentence in err and returns code.
int device_fail(char *err, int code, const char *format, ...);
#endif
