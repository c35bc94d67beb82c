/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Guest code: 32-bit, flat, no paging, no stack, no interrupts. Position
 * independent. One entry is one pass over the pages of this vCPU, whose block
 * is at fs:0.
 * esi page, ecx offset, eax expected word, edx new word, ebx word found.
 */
#include "small_guest.h"

	.section .rodata
	.code32
	.globl sg_code, sg_code_end, sg_entry_verify, sg_entry_fill, sg_entry_read

sg_code:
sg_entry_verify:
	mov	%fs:SG_START, %esi
.Lverify_page:
	mov	%fs:SG_FACTOR, %eax
	imul	%esi, %eax
	mov	%eax, %edx
	xor	%fs:SG_OLD_KEY, %eax
	xor	%fs:SG_NEW_KEY, %edx
	xor	%ecx, %ecx
.Lverify_word:
	mov	(%esi,%ecx), %ebx
	cmp	%eax, %ebx
	je	.Lequal
	out	%eax, $SG_MISMATCH
.Lequal:
	mov	%edx, (%esi,%ecx)
	add	$4, %ecx
	test	$(SG_RUN_BYTES - 1), %ecx
	jnz	.Lverify_word
	inc	%eax
	inc	%edx
	cmp	$4096, %ecx
	jne	.Lverify_word

	add	%fs:SG_STRIDE, %esi
	cmp	%fs:SG_END, %esi
	jb	.Lin_range
	sub	%fs:SG_END, %esi
	add	%fs:SG_START, %esi
.Lin_range:
	decl	%fs:SG_LEFT
	jz	.Ldone
	testl	$(SG_PROGRESS_PAGES - 1), %fs:SG_LEFT
	jnz	.Lverify_page
	out	%eax, $SG_PROGRESS
	jmp	.Lverify_page

sg_entry_fill:
	mov	%fs:SG_START, %esi
.Lfill_page:
	mov	%fs:SG_FACTOR, %edx
	imul	%esi, %edx
	xor	%fs:SG_NEW_KEY, %edx
	xor	%ecx, %ecx
.Lfill_word:
	mov	%edx, (%esi,%ecx)
	add	$4, %ecx
	test	$(SG_RUN_BYTES - 1), %ecx
	jnz	.Lfill_word
	inc	%edx
	cmp	$4096, %ecx
	jne	.Lfill_word
	add	$4096, %esi
	decl	%fs:SG_LEFT
	jz	.Ldone
	testl	$(SG_PROGRESS_PAGES - 1), %fs:SG_LEFT
	jnz	.Lfill_page
	out	%eax, $SG_PROGRESS
	jmp	.Lfill_page
.Ldone:
	out	%eax, $SG_DONE
	hlt

/* Reads the word at SG_START again and again, and tells it. */
sg_entry_read:
	mov	%fs:SG_START, %esi
	mov	(%esi), %eax
	out	%eax, $SG_DONE
	jmp	sg_entry_read
sg_code_end:
	.code64
	.section .note.GNU-stack, "", @progbits
