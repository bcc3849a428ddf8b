/* The hot path in C: optional, with a Python twin for every function, which is its reference.
 *
 * Plain C API, limited to the stable ABI of Python 3.11: one build serves every later version. Built for little-endian
 * 64-bit machines and interpreters with a global lock; hatch_build.py leaves it out elsewhere. Every function holds the lock
 * from its beginning to its end: the static buffers are safe for this reason alone.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

static PyMethodDef functions[] = {{NULL, NULL, 0, NULL}};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "fleetgw._speedups", "The hot path in C; _speedups.pyi says what each function does.", 0,
    functions, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__speedups(void) { return PyModuleDef_Init(&module); }
