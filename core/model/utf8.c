/* SPDX-License-Identifier: MIT */
#include "model/utf8.h"

#include <stdint.h>
#include <string.h>

#include "model/value.h"

#define HIGH_BITS UINT64_C(0x8080808080808080)
#define LOW_BITS  UINT64_C(0x7f7f7f7f7f7f7f7f)

/* How many of the word's bytes have their high bit: in the product's highest byte all eight meet. */
static size_t n_high_bits(uint64_t word)
{
	return (size_t)((((word & HIGH_BITS) >> 7) * UINT64_C(0x0101010101010101)) >> 56);
}

static bool is_continuation(unsigned char byte)
{
	return (byte & 0xC0) == 0x80;
}

/*
 * The length of the well-formed sequence at `at`, which starts with a byte of 0x80 or more and has `left` bytes to the
 * end; 0 if there is none. The table of Unicode 15, 3.9, D92: the second byte's range is what shuts out overlong forms,
 * surrogates and what lies beyond U+10FFFF.
 */
static size_t sequence_length(const unsigned char *at, size_t left)
{
	const unsigned char first = at[0];

	if (first < 0xC2)
		return 0;
	if (first < 0xE0)
		return left >= 2 && is_continuation(at[1]) ? 2 : 0;
	if (first < 0xF0) {
		const unsigned char low = first == 0xE0 ? 0xA0 : 0x80;
		const unsigned char high = first == 0xED ? 0x9F : 0xBF;

		return left >= 3 && at[1] >= low && at[1] <= high && is_continuation(at[2]) ? 3 : 0;
	}
	if (first < 0xF5) {
		const unsigned char low = first == 0xF0 ? 0x90 : 0x80;
		const unsigned char high = first == 0xF4 ? 0x8F : 0xBF;

		return left >= 4 && at[1] >= low && at[1] <= high && is_continuation(at[2]) && is_continuation(at[3])
			       ? 4
			       : 0;
	}
	return 0;
}

bool orm_utf8_check_run(const char *text, size_t size, size_t *n_nuls)
{
	const unsigned char *at = (const unsigned char *)text;
	size_t left = size;
	size_t nuls = 0;

	while (left > 0) {
		while (left >= sizeof(uint64_t)) {
			uint64_t word;

			memcpy(&word, at, sizeof word);
			if (word & HIGH_BITS)
				break;
			/* No byte is above 0x7f, so none carries: the high bit comes on in each that is not zero. */
			nuls += sizeof word - n_high_bits(word + LOW_BITS);
			at += sizeof word;
			left -= sizeof word;
		}
		/* Either fewer than eight bytes are left, or one of the next eight is not ASCII: up to and over that
		 * one. */
		while (left > 0 && *at < 0x80) {
			nuls += *at == 0;
			at++;
			left--;
		}
		while (left > 0 && *at >= 0x80) {
			const size_t length = sequence_length(at, left);

			if (length == 0)
				return false;
			at += length;
			left -= length;
		}
	}
	*n_nuls = nuls;
	return true;
}

bool orm_utf8_valid(const char *text, size_t size)
{
	size_t n_nuls;

	return orm_utf8_check_run(text, size, &n_nuls) && n_nuls == 0;
}

size_t orm_utf8_length(const char *text, size_t size)
{
	size_t length = 0;

	for (size_t i = 0; i < size; i++)
		length += !is_continuation((unsigned char)text[i]);
	return length;
}
