/* The hot path in C: optional, with a Python twin for every function, which is its reference.
 *
 * Plain C API, limited to the stable ABI of Python 3.11: one build serves every later version. Built for little-endian
 * 64-bit machines and interpreters with a global lock; hatch_build.py leaves it out elsewhere. Every function holds the lock
 * from its beginning to its end, and runs no Python code between filling a static buffer and its last use.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <errno.h>
#include <limits.h>
#include <sys/socket.h>
#include <stdint.h>
#include <string.h>

/* ---- split: WebSocket frames and the usual envelopes in them; twin: adapters/ingress/fast_frames.py ---- */

#define BINARY_FINAL 0x82
#define MESSAGES_AT_ONCE 64
#define MAX_ID_BYTES 1024
#define STREAM 4 /* the union tag of a stream message */

/* The vtables of the usual layouts, each followed by the first word of its table: adapters/codec/envelope.py. */
static const unsigned char USUAL_ENVELOPE[18] = {14, 0, 24, 0, 20, 0, 16, 0, 15, 0, 8, 0, 4, 0, 14, 0, 0, 0};
static const unsigned char USUAL_STREAM[18] = {14, 0, 24, 0, 16, 0, 20, 0, 12, 0, 8, 0, 4, 0, 14, 0, 0, 0};
static const unsigned char USUAL_STREAM_DELIVERED[20] = {16, 0, 36, 0, 28, 0, 32, 0, 24, 0, 20, 0, 16, 0, 4, 0, 16, 0, 0, 0};

static unsigned char message[65536]; /* the unmasked payload of one frame */

static uint32_t u32(const unsigned char *at) {
    uint32_t number;
    memcpy(&number, at, sizeof number);
    return number;
}

static void unmask(const unsigned char *masked, const unsigned char *mask, size_t size) {
    uint64_t mask_twice = (uint64_t)u32(mask) << 32 | u32(mask), eight;
    size_t at = 0;
    for (; size - at >= 8; at += 8) {
        memcpy(&eight, masked + at, 8);
        eight ^= mask_twice;
        memcpy(message + at, &eight, 8);
    }
    for (; at < size; at++)
        message[at] = masked[at] ^ mask[at & 3];
}

typedef struct {
    const unsigned char *bytes;
    size_t size;
} Vector;

/* Whether a message of `size` bytes holds a whole byte vector at the position that stands, relative, at `field`. */
static int find_vector(size_t size, size_t field, Vector *vector) {
    size_t at = field + u32(message + field); /* both are below 2^32: the sum cannot wrap in 64 bits */
    if (at > size || size - at < 4 || size - at - 4 < u32(message + at))
        return 0;
    vector->bytes = message + at + 4;
    vector->size = u32(message + at);
    return 1;
}

/* Reads the first `size` bytes of `message` as the twin's `read_usual` does: 1 if it has a usual layout, else 0. */
static int find_usual(size_t size, Vector *txid, Vector *topic, Vector *sender_id, Vector *payload) {
    Vector checked; /* not used, but it must lie within the message */
    size_t root, stream, fields;
    if (size < 4)
        return 0;
    root = u32(message);
    if (root < 14 || root > size || size - root < 24 || memcmp(message + root - 14, USUAL_ENVELOPE, 18) ||
        message[root + 15] != STREAM)
        return 0;
    stream = root + 8 + u32(message + root + 8);
    if (stream > size || size - stream < 24)
        return 0;
    if (!memcmp(message + stream - 14, USUAL_STREAM, 18))
        fields = stream + 4;
    else if (size - stream >= 36 && !memcmp(message + stream - 16, USUAL_STREAM_DELIVERED, 20))
        fields = stream + 16;
    else
        return 0;
    return find_vector(size, root + 20, txid) && find_vector(size, root + 16, topic) &&
           find_vector(size, fields + 16, sender_id) && find_vector(size, fields + 8, payload) &&
           find_vector(size, root + 4, &checked) && find_vector(size, fields + 4, &checked) &&
           find_vector(size, fields, &checked) && txid->size <= MAX_ID_BYTES && topic->size <= MAX_ID_BYTES;
}

/* A new envelope of the first `size` bytes of `message`, or a new bytes object where it has no usual layout. */
static PyObject *read_message(size_t size, int is_envelope, PyTypeObject *make) {
    Vector vectors[4];
    PyObject *bytes[4], *tag, *fields = NULL, *arguments = NULL, *envelope = NULL;
    int each, failed = 0;
    if (!is_envelope || !find_usual(size, &vectors[0], &vectors[1], &vectors[2], &vectors[3]))
        return PyBytes_FromStringAndSize((char *)message, (Py_ssize_t)size);
    /* The tuples come last: with one, Python may collect garbage, and so run code that uses `message` again. */
    for (each = 0; each < 4; each++) {
        bytes[each] = PyBytes_FromStringAndSize((char *)vectors[each].bytes, (Py_ssize_t)vectors[each].size);
        failed |= bytes[each] == NULL;
    }
    tag = PyLong_FromLong(STREAM);
    if (!failed && tag != NULL)
        fields = PyTuple_Pack(6, tag, Py_True, bytes[0], bytes[1], bytes[2], bytes[3]);
    if (fields != NULL)
        arguments = PyTuple_Pack(1, fields);
    if (arguments != NULL)
        envelope = ((newfunc)PyType_GetSlot(&PyTuple_Type, Py_tp_new))(make, arguments, NULL); /* tuple.__new__ */
    for (each = 0; each < 4; each++)
        Py_XDECREF(bytes[each]);
    Py_XDECREF(tag);
    Py_XDECREF(fields);
    Py_XDECREF(arguments);
    return envelope;
}

/* Appends the messages of whole frames that start in the first `most_bytes` of `data` to a new list, which it returns.
 * `*taken` is the number of bytes of their frames. */
static PyObject *split_frames(const unsigned char *data, size_t size, Py_ssize_t most_bytes, Py_ssize_t max_message_bytes,
                              PyTypeObject *make, size_t *taken) {
    PyObject *messages = PyList_New(0);
    size_t at = 0;
    if (messages == NULL)
        return NULL;
    for (int count = 0; count < MESSAGES_AT_ONCE; count++) {
        size_t length, mask_at = at + 2;
        PyObject *read;
        int failed;
        if (size - at < 6 || (Py_ssize_t)at >= most_bytes || data[at] != BINARY_FINAL || data[at + 1] < 0x80)
            break;
        length = data[at + 1] - 0x80u;
        if (length == 127)
            break;
        if (length == 126) {
            length = (size_t)data[at + 2] << 8 | data[at + 3];
            mask_at += 2;
            if (length < 126)
                break;
        }
        if (size - mask_at < 4 || size - mask_at - 4 < length)
            break;
        unmask(data + mask_at + 4, data + mask_at, length);
        read = read_message(length, (Py_ssize_t)length <= max_message_bytes, make);
        failed = read == NULL || PyList_Append(messages, read);
        Py_XDECREF(read);
        if (failed) {
            Py_DECREF(messages);
            return NULL;
        }
        at = mask_at + 4 + length;
    }
    *taken = at;
    return messages;
}

/* Whether `object` is a type of tuples, as envelopes are; else an exception is set. */
static int is_tuple_type(PyObject *object) {
    if (PyType_Check(object) && PyType_IsSubtype((PyTypeObject *)object, &PyTuple_Type))
        return 1;
    PyErr_SetString(PyExc_TypeError, "envelopes are made of a type of tuples");
    return 0;
}

static int count_is(Py_ssize_t given, Py_ssize_t wanted) {
    if (given != wanted)
        PyErr_Format(PyExc_TypeError, "%zd arguments are taken, and %zd given", wanted, given);
    return given == wanted;
}

/* split(data, position, most_bytes, max_message_bytes, make) -> (messages, position of the first byte not taken) */
static PyObject *split(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count) {
    char *data;
    Py_ssize_t size, position, most_bytes, max_message_bytes;
    size_t taken;
    PyObject *messages;
    if (!count_is(count, 5) || PyBytes_AsStringAndSize(args[0], &data, &size) || !is_tuple_type(args[4]))
        return NULL;
    position = PyLong_AsSsize_t(args[1]);
    most_bytes = PyLong_AsSsize_t(args[2]);
    max_message_bytes = PyLong_AsSsize_t(args[3]);
    if (PyErr_Occurred())
        return NULL;
    if (position < 0) {
        PyErr_SetString(PyExc_ValueError, "a negative position");
        return NULL;
    }
    if (position > size)
        return Py_BuildValue("([]n)", position);
    messages = split_frames((unsigned char *)data + position, (size_t)(size - position), most_bytes, max_message_bytes,
                            (PyTypeObject *)args[4], &taken);
    return messages == NULL ? NULL : Py_BuildValue("(Nn)", messages, position + (Py_ssize_t)taken);
}

/* ---- rewrite_data: canonical payloads of V records; twin: adapters/codec/canonical.py ----
 *
 * A payload in canonical form, as protobuf itself writes it, needs no protobuf: known fields in ascending order, each once,
 * one case of a oneof, shortest varints, no default value but in a oneof, ASCII text. The table tells the kinds of fields:
 * rows of TAGS bytes, one for each tag below TAGS, 0 where the message has no such field. Its rows are
 *
 *     VALUE        Value: kinds; from MESSAGE on, the row of the message's fields is added
 *     CREATED_AT   Timestamp
 *     REWRITTEN    by signal number: not 0 where a text of this signal may be rewritten
 *     others       the messages within Value, whose fields are numbers without presence
 */

enum { INT32 = 1, INT64, BOOL, FIXED32, FIXED64, TEXT, MESSAGE };
enum { VALUE, CREATED_AT, REWRITTEN };
enum { TAGS = 512 };

typedef const unsigned char *Bytes;

/* The table's byte for a tag or a signal; 0 for those outside the table. */
static unsigned kind_of(const Vector *table, unsigned row, uint64_t tag) {
    size_t index = (size_t)row * TAGS + (size_t)tag;
    return tag < TAGS && index < table->size ? table->bytes[index] : 0;
}

/* Reads a varint in its shortest form; returns its end, or NULL. */
static Bytes read_varint(Bytes at, Bytes end, uint64_t *number) {
    uint64_t value = 0;
    for (int shift = 0; at < end && shift < 64; shift += 7) {
        unsigned char byte = *at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *number = value;
            return (byte == 0 && shift > 0) || (byte > 1 && shift == 63) ? NULL : at;
        }
    }
    return NULL;
}

/* Reads the length of a field, and sets the field's end, which lies within `end`; returns the field's start, or NULL. */
static Bytes read_length(Bytes at, Bytes end, Bytes *field_end) {
    uint64_t length;
    at = read_varint(at, end, &length);
    if (at == NULL || length > (uint64_t)(end - at))
        return NULL;
    *field_end = at + length;
    return at;
}

/* Reads a number of a kind, a float as its bits; returns its end, or NULL. */
static Bytes read_number(Bytes at, Bytes end, unsigned kind, uint64_t *number) {
    *number = 0;
    if (kind == FIXED32 || kind == FIXED64) {
        size_t size = kind == FIXED32 ? 4 : 8;
        if ((size_t)(end - at) < size)
            return NULL;
        memcpy(number, at, size);
        return at + size;
    }
    if (kind != INT32 && kind != INT64 && kind != BOOL)
        return NULL;
    at = read_varint(at, end, number);
    if ((kind == BOOL && *number > 1) || (kind == INT32 && *number > INT32_MAX && *number < (uint64_t)INT32_MIN))
        return NULL;
    return at;
}

/* Whether the fields of a message are numbers in canonical form; none has presence, so that none is 0. */
static int are_canonical(Bytes at, Bytes end, const Vector *table, unsigned row) {
    uint64_t tag, last_tag = 0, number;
    while (at < end) {
        at = read_varint(at, end, &tag);
        if (at == NULL || tag <= last_tag)
            return 0;
        at = read_number(at, end, kind_of(table, row, tag), &number);
        if (at == NULL || number == 0)
            return 0;
        last_tag = tag;
    }
    return 1;
}

/* Whether a text is ASCII, and no part of it looks like a number in scientific notation: \.[0-9]*[eE] */
static int is_plain(Bytes at, Bytes end) {
    int behind_point = 0;
    for (; at < end; at++) {
        if (*at >= 0x80 || (behind_point && (*at == 'e' || *at == 'E')))
            return 0;
        behind_point = *at == '.' || (behind_point && *at >= '0' && *at <= '9');
    }
    return 1;
}

/* Whether a Datum is in canonical form, its value of a known kind or empty, and nothing that may be rewritten. */
static int is_canonical_datum(Bytes at, Bytes end, const Vector *table) {
    uint64_t key = 0, tag, number;
    unsigned kind;
    Bytes field_end;
    if (at < end && *at == 0x08) { /* key */
        at = read_number(at + 1, end, INT32, &key);
        if (at == NULL || key == 0)
            return 0;
    }
    if (at == end)
        return 1;
    if (*at != 0x12) /* value */
        return 0;
    at = read_length(at + 1, end, &field_end);
    if (at == NULL || field_end != end)
        return 0;
    if (at == end)
        return 1;
    at = read_varint(at, end, &tag);
    if (at == NULL)
        return 0;
    kind = kind_of(table, VALUE, tag);
    if (kind < TEXT)
        return read_number(at, end, kind, &number) == end;
    at = read_length(at, end, &field_end);
    if (at == NULL || field_end != end)
        return 0;
    if (kind == TEXT)
        return kind_of(table, REWRITTEN, key) == 0 && is_plain(at, end);
    return are_canonical(at, end, table, kind - MESSAGE);
}

/* Finds the field of the vin, or its place, in a canonical payload; returns the number of signals, -1 for other payloads. */
static Py_ssize_t find_vin(Bytes at, Bytes end, const Vector *table, Py_ssize_t max_elements, Bytes *vin, Bytes *vin_end) {
    Py_ssize_t signals = 0;
    Bytes field_end;
    while (at < end && *at == 0x0a) { /* data */
        at = read_length(at + 1, end, &field_end);
        if (at == NULL || signals++ >= max_elements || !is_canonical_datum(at, field_end, table))
            return -1;
        at = field_end;
    }
    if (at < end && *at == 0x12) { /* created_at */
        at = read_length(at + 1, end, &field_end);
        if (at == NULL || !are_canonical(at, field_end, table, CREATED_AT))
            return -1;
        at = field_end;
    }
    *vin = at;
    if (at < end && *at == 0x1a) { /* vin */
        at = read_length(at + 1, end, &field_end);
        if (at == NULL || at == field_end || !is_plain(at, field_end))
            return -1;
        at = field_end;
    }
    *vin_end = at;
    if (end - at >= 2 && at[0] == 0x20 && at[1] == 1) /* is_resend */
        at += 2;
    return at == end ? signals : -1;
}

/* rewrite_data(payload, vin, table, max_elements) -> (payload with this vin, number of signals) | None
 *
 * The bytes are those that protobuf would write. None when the payload is not in canonical form, may be rewritten by a
 * transform, or has more than max_elements signals; and for a vin that is empty or not ASCII.
 */
static PyObject *rewrite_data(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count) {
    char *payload, *table_bytes, *to;
    unsigned char head[11] = {0x1a}; /* tag and length of the vin */
    int head_size = 1;
    Py_ssize_t size, table_size, vin_size, max_elements, signals;
    const char *vin;
    Vector table;
    Bytes start, end, old = NULL, old_end = NULL;
    PyObject *rewritten;
    if (!count_is(count, 4) || PyBytes_AsStringAndSize(args[0], &payload, &size) ||
        PyBytes_AsStringAndSize(args[2], &table_bytes, &table_size))
        return NULL;
    max_elements = PyLong_AsSsize_t(args[3]);
    if (PyErr_Occurred())
        return NULL;
    vin = PyUnicode_AsUTF8AndSize(args[1], &vin_size);
    if (vin == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
            return NULL;
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    table.bytes = (Bytes)table_bytes;
    table.size = (size_t)table_size;
    start = (Bytes)payload;
    end = start + size;
    signals = find_vin(start, end, &table, max_elements, &old, &old_end);
    if (signals < 0 || vin_size == 0 || vin_size != PyUnicode_GetLength(args[1]))
        Py_RETURN_NONE;
    for (size_t rest = (size_t)vin_size; rest > 0; rest >>= 7)
        head[head_size++] = (unsigned char)((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
    rewritten = PyBytes_FromStringAndSize(NULL, (old - start) + head_size + vin_size + (end - old_end));
    if (rewritten == NULL)
        return NULL;
    to = PyBytes_AsString(rewritten);
    memcpy(to, start, old - start);
    to += old - start;
    memcpy(to, head, head_size);
    memcpy(to + head_size, vin, vin_size);
    memcpy(to + head_size + vin_size, old_end, end - old_end);
    return Py_BuildValue("(Nn)", rewritten, signals);
}

/* ---- receive, send: a socket and OpenSSL in one call; twin: adapters/ingress/tls_records.py ---- */

#define BYTES_AT_ONCE 16384
#define RECORDS_AT_ONCE 64
#define RECORD_BYTES 16384 /* the plaintext of the largest record */
#define SSL_ERROR_WANT_READ 2
#ifndef MSG_NOSIGNAL /* macOS; Python ignores SIGPIPE */
#define MSG_NOSIGNAL 0
#endif

enum { DECRYPTED_ALL, MORE_ENCRYPTED, INCOMPLETE, END_OF_TLS, NO_BYTES, CLOSED, LOST };

/* The functions of the OpenSSL that made the connections; NULL until `use_openssl`. */
static struct {
    int (*ssl_read)(void *, void *, int);
    int (*ssl_write)(void *, const void *, int);
    int (*ssl_get_error)(const void *, int);
    int (*bio_read)(void *, void *, int);
    int (*bio_write)(void *, const void *, int);
    long (*bio_get_mem_data)(void *, char **);
} openssl;

static char encrypted[65536];
static char decrypted[RECORDS_AT_ONCE * RECORD_BYTES];

/* An address given as a number, which must not be 0; else an exception is set. */
static void *address(PyObject *number) {
    void *pointer = PyLong_AsVoidPtr(number);
    if (pointer == NULL && !PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "the address is 0");
    return pointer;
}

/* use_openssl(addresses of the functions of `openssl`, in their order) */
static PyObject *use_openssl(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count) {
    void *functions[6];
    if (!count_is(count, 6))
        return NULL;
    for (int each = 0; each < 6; each++)
        if ((functions[each] = address(args[each])) == NULL)
            return NULL;
    memcpy(&openssl, functions, sizeof openssl);
    Py_RETURN_NONE;
}

/* Sets `*ssl` and `*bio` to a connection's objects, given as addresses; 0 with an exception where that cannot be. */
static int find_connection(PyObject *ssl_address, PyObject *bio_address, void **ssl, void **bio) {
    if (openssl.ssl_read == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "use_openssl has not been called");
        return 0;
    }
    *ssl = address(ssl_address);
    *bio = *ssl == NULL ? NULL : address(bio_address);
    return *bio != NULL;
}

/* The file descriptor of a socket, -1 of a closed one: a system call with it fails. 0 with an exception for no socket. */
static int find_descriptor(PyObject *socket, int *descriptor) {
    *descriptor = PyObject_AsFileDescriptor(socket);
    if (*descriptor < 0) {
        if (!PyErr_ExceptionMatches(PyExc_ValueError))
            return 0;
        PyErr_Clear();
    }
    return 1;
}

/* Fills `encrypted` from a socket; returns the number of bytes, or 0 with a `*status`. */
static Py_ssize_t read_socket(int descriptor, int *status) {
    ssize_t size = recv(descriptor, encrypted, sizeof encrypted, 0);
    if (size > 0)
        return size;
    *status = size == 0 ? CLOSED : errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? NO_BYTES : LOST;
    return 0;
}

/* Fills `decrypted` with up to RECORDS_AT_ONCE records of a connection; returns the number of bytes. */
static size_t decrypt(void *ssl, void *into_ssl, int *status) {
    size_t filled = 0;
    *status = MORE_ENCRYPTED;
    for (int count = 0; count < RECORDS_AT_ONCE; count++) {
        int size = openssl.ssl_read(ssl, decrypted + filled, RECORD_BYTES);
        if (size <= 0) {
            *status = openssl.ssl_get_error(ssl, size) == SSL_ERROR_WANT_READ ? INCOMPLETE : END_OF_TLS;
            break;
        }
        filled += (size_t)size;
        if (!openssl.bio_get_mem_data(into_ssl, NULL)) {
            *status = DECRYPTED_ALL;
            break;
        }
    }
    return filled;
}

/* receive(socket or bytes, ssl, into_ssl, max_message_bytes, make) -> (status, messages, plaintext behind them) */
static PyObject *receive(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count) {
    void *ssl, *into_ssl;
    char *source = encrypted;
    Py_ssize_t size, max_message_bytes;
    int descriptor, status = DECRYPTED_ALL;
    size_t filled, taken = 0;
    PyObject *plaintext, *messages, *rest;
    if (!count_is(count, 5) || !find_connection(args[1], args[2], &ssl, &into_ssl) || !is_tuple_type(args[4]))
        return NULL;
    max_message_bytes = PyLong_AsSsize_t(args[3]);
    if (max_message_bytes == -1 && PyErr_Occurred())
        return NULL;
    if (PyBytes_Check(args[0])) {
        if (PyBytes_AsStringAndSize(args[0], &source, &size))
            return NULL;
    } else {
        if (!find_descriptor(args[0], &descriptor))
            return NULL;
        size = read_socket(descriptor, &status);
        if (status != DECRYPTED_ALL)
            return Py_BuildValue("(i[]y#)", status, "", (Py_ssize_t)0);
    }
    if (size > INT_MAX) {
        PyErr_SetString(PyExc_OverflowError, "too many encrypted bytes");
        return NULL;
    }
    if (size && openssl.bio_write(into_ssl, source, (int)size) != size)
        return PyErr_NoMemory();
    filled = decrypt(ssl, into_ssl, &status);
    plaintext = PyBytes_FromStringAndSize(decrypted, (Py_ssize_t)filled);
    if (plaintext == NULL)
        return NULL;
    if (max_message_bytes < 0)
        return Py_BuildValue("(i[]N)", status, plaintext);
    messages = split_frames((unsigned char *)PyBytes_AsString(plaintext), filled, BYTES_AT_ONCE, max_message_bytes,
                            (PyTypeObject *)args[4], &taken);
    if (messages == NULL) {
        Py_DECREF(plaintext);
        return NULL;
    }
    rest = PyBytes_FromStringAndSize(PyBytes_AsString(plaintext) + taken, (Py_ssize_t)(filled - taken));
    Py_DECREF(plaintext);
    if (rest == NULL) {
        Py_DECREF(messages);
        return NULL;
    }
    return Py_BuildValue("(iNN)", status, messages, rest);
}

/* send(socket or None, ssl, from_ssl, data) -> encrypted bytes that the socket has not taken; None if `data` is not encrypted */
static PyObject *send_data(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count) {
    void *ssl, *from_ssl;
    char *data;
    Py_ssize_t data_size;
    int descriptor = -1, size, written;
    PyObject *unsent = NULL;
    if (!count_is(count, 4) || !find_connection(args[1], args[2], &ssl, &from_ssl) ||
        PyBytes_AsStringAndSize(args[3], &data, &data_size) ||
        (args[0] != Py_None && !find_descriptor(args[0], &descriptor)))
        return NULL;
    if (data_size > INT_MAX) {
        PyErr_SetString(PyExc_OverflowError, "too many bytes to encrypt");
        return NULL;
    }
    while ((written = openssl.ssl_write(ssl, data, (int)data_size)) < data_size) { /* the vehicle wants small records */
        if (written <= 0)
            Py_RETURN_NONE;
        data += written;
        data_size -= written;
    }
    do {
        ssize_t sent = 0;
        PyObject *rest;
        size = openssl.bio_read(from_ssl, encrypted, sizeof encrypted);
        if (size <= 0)
            break;
        if (descriptor >= 0 && unsent == NULL)
            sent = send(descriptor, encrypted, (size_t)size, MSG_NOSIGNAL);
        if (sent < 0)
            sent = 0; /* full or broken: the next write finds out */
        if (sent == size)
            continue;
        rest = PyBytes_FromStringAndSize(encrypted + sent, size - sent);
        if (unsent == NULL)
            unsent = rest;
        else
            PyBytes_ConcatAndDel(&unsent, rest);
        if (unsent == NULL)
            return NULL;
    } while (size == (int)sizeof encrypted);
    return unsent != NULL ? unsent : PyBytes_FromStringAndSize("", 0);
}

static PyMethodDef functions[] = {
    {"split", (PyCFunction)(void (*)(void))split, METH_FASTCALL, NULL},
    {"use_openssl", (PyCFunction)(void (*)(void))use_openssl, METH_FASTCALL, NULL},
    {"receive", (PyCFunction)(void (*)(void))receive, METH_FASTCALL, NULL},
    {"send", (PyCFunction)(void (*)(void))send_data, METH_FASTCALL, NULL},
    {"rewrite_data", (PyCFunction)(void (*)(void))rewrite_data, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "fleetgw._speedups", "The hot path in C; _speedups.pyi says what each function does.", 0,
    functions, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__speedups(void) { return PyModuleDef_Init(&module); }
