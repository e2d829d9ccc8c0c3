//go:build cgo && linux

#include "device.h"
#include <stdarg.h>
#include <stdio.h>

int device_fail(char *err, int code, const char *format, ...) {
  va_list v;
  va_start(v, format);
  vsnprintf(err, DEVICE_ERR, format, v);
  va_end(v);
  return code;
}
