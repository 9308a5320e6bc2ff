/* SPDX-License-Identifier: MIT */
/* UUIDs: RFC 9562, sections 4 (text), 5.4 (version 4) and 5.7 (version 7). */
#include <orm/types.h>

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define N_BYTES 16

/* A hyphen is written before these bytes. */
static bool starts_group(size_t byte)
{
	return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

void orm_uuid_format(orm_uuid uuid, char text[ORM_UUID_SIZE])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < N_BYTES; i++) {
		if (starts_group(i))
			*text++ = '-';
		*text++ = digits[uuid.bytes[i] >> 4];
		*text++ = digits[uuid.bytes[i] & 15];
	}
	*text = '\0';
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

orm_status orm_uuid_parse(const char *text, orm_uuid *uuid)
{
	orm_uuid parsed;

	if (!text)
		return ORM_EINVAL;
	for (size_t i = 0; i < N_BYTES; i++) {
		if (starts_group(i) && *text++ != '-')
			return ORM_EINVAL;

		const int high = digit_value(text[0]);
		const int low = high < 0 ? -1 : digit_value(text[1]);

		if (low < 0)
			return ORM_EINVAL;
		parsed.bytes[i] = (uint8_t)(high << 4 | low);
		text += 2;
	}
	if (*text)
		return ORM_EINVAL;
	*uuid = parsed;
	return ORM_OK;
}

bool orm_uuid_equal(orm_uuid a, orm_uuid b)
{
	return memcmp(a.bytes, b.bytes, N_BYTES) == 0;
}

/* The bytes from `first` on are random; the version and the variant are put in their places. */
static orm_status finish(orm_uuid *uuid, size_t first, unsigned version)
{
	size_t filled = first;

	while (filled < N_BYTES) {
		const ssize_t n = getrandom(uuid->bytes + filled, N_BYTES - filled, 0);

		if (n < 0 && errno != EINTR)
			return ORM_EUNAVAILABLE;
		filled += n > 0 ? (size_t)n : 0;
	}
	uuid->bytes[6] = (uint8_t)((uuid->bytes[6] & 0x0f) | version << 4);
	uuid->bytes[8] = (uint8_t)((uuid->bytes[8] & 0x3f) | 0x80);
	return ORM_OK;
}

orm_status orm_uuid_v4(orm_uuid *uuid)
{
	orm_uuid made;
	const orm_status status = finish(&made, 0, 4);

	if (status == ORM_OK)
		*uuid = made;
	return status;
}

orm_status orm_uuid_v7(orm_uuid *uuid)
{
	struct timespec now;
	orm_uuid made;
	orm_status status;

	clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */

	const uint64_t ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;

	for (unsigned i = 0; i < 6; i++)
		made.bytes[i] = (uint8_t)(ms >> (40 - 8 * i));
	status = finish(&made, 6, 7);
	if (status == ORM_OK)
		*uuid = made;
	return status;
}
