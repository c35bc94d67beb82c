/* SPDX-License-Identifier: GPL-2.0 */
/* Parameters "mn.<key>=<value>" of the kernel command line. */
#ifndef MN_PARAM_H
#define MN_PARAM_H

void param_load(void);
const char *param(const char *key, const char *otherwise);
long param_number(const char *key, long otherwise);

/* What an option of a program is: 0 or more. */
long argument_number(const char *text);

#endif
