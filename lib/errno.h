/* SPDX-License-Identifier: MIT */
/* Error numbers, which functions return negated; 0 is success. The values are those of Linux, so
 * hosted builds agree. */
#pragma once

#define EPERM       1
#define ENOENT      2
#define EIO         5
#define E2BIG       7
#define EAGAIN      11
#define ENOMEM      12
#define EACCES      13
#define EFAULT      14
#define EBUSY       16
#define EEXIST      17
#define ENODEV      19
#define EINVAL      22
#define ENOSPC      28
#define ERANGE      34
#define ENOSYS      38
#define ENOTSUP     95
#define ETIMEDOUT   110
#define EINPROGRESS 115
