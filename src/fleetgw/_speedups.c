/* The hot path in C: optional, with a Python twin for every function, which is its reference.
 *
 * Plain C API, limited to the stable ABI of Python 3.11: one build serves every later version. Built for little-endian
 * 64-bit machines and interpreters with a global lock; hatch_build.py leaves it out elsewhere. Every function holds the lock
 * from its beginning to its end, and runs no Python code between filling a static buffer and its last use.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
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
    Vector checked; /* of no use to anyone but held inside the message */
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

static PyMethodDef functions[] = {
    {"split", (PyCFunction)(void (*)(void))split, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "fleetgw._speedups", "The hot path in C; _speedups.pyi says what each function does.", 0,
    functions, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__speedups(void) { return PyModuleDef_Init(&module); }
