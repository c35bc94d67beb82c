/* SPDX-License-Identifier: GPL-2.0 */
/* Parameters "mn.<key>=<value>" of the kernel command line. */
#ifndef MN_PARAM_H
#define MN_PARAM_H

void param_load(void);
const char *param(const char *key, const char *otherwise);
long param_number(const char *key, long otherwise);

#endif
